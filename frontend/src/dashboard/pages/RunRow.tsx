import type { ReactNode } from "react";
import { memo } from "react";
import { errorLine } from "../../react/format";
import type { RunSummary } from "../../react/index";
import { duration, isEnded, ProgressBar, percent, StatusIcon, ticking } from "../../react/index";
import { useNow } from "../../react/useNow";
import { Link } from "../Link";
import { usePreferences } from "../preferences";
import { ago, moment } from "../time";
import { useWords } from "../words";

/** One run in the list: status, name, progress, duration, age. */
export const RunRow = memo(function RunRow({ run, href }: { run: RunSummary; href: string }): ReactNode {
  const words = useWords();
  const { language } = usePreferences();
  const ended = isEnded(run.status);
  const now = useNow(true, ended ? 30_000 : 1_000);
  const begun = run.startedAt ?? run.createdAt;
  const end = ended ? run.finishedAt : now > 0 ? now : run.updatedAt;
  const tookMs = begun === null || end === null ? null : Math.max(0, end - begun);
  const since = run.createdAt ?? run.startedAt ?? run.updatedAt;
  return (
    <Link className="run-row" href={href} data-status={run.status}>
      <StatusIcon status={run.status} label={words.status[run.status]} />
      <span className="run-name">
        <span className="run-title">{run.title ?? run.runId}</span>
        <span className="run-sub muted">
          {run.pipeline !== null && <span className="tag">{run.pipeline}</span>}
          {run.title !== null && <span className="mono run-id">{run.runId}</span>}
          {run.attempt > 1 && <span>{words.attempt(run.attempt)}</span>}
        </span>
      </span>
      <div className="run-where">
        {ended ? (
          <span className="run-outcome">
            {run.status === "failed" && run.error !== null ? errorLine(run.error) : words.status[run.status]}
          </span>
        ) : (
          <>
            {/* hidden from screen readers: the text below has the same values */}
            <div aria-hidden="true">
              <ProgressBar run={run} words={words} />
            </div>
            <span className="run-now">
              <span className="run-state">
                {run.status === "running" ? (run.state ?? words.status.running) : words.status[run.status]}
              </span>
              {run.progress !== null && <span className="run-percent">{percent(run.progress)}</span>}
            </span>
          </>
        )}
      </div>
      <span className="run-took">
        {tookMs === null ? "" : (ended ? duration : ticking)(tookMs, words.units)}
      </span>
      <time
        className="run-since muted"
        dateTime={since === null ? undefined : new Date(since).toISOString()}
        title={since === null ? undefined : moment(since, language)}
      >
        {since === null || now === 0 ? "" : ago(since, now, language)}
      </time>
    </Link>
  );
});
