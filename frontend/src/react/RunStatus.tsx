import type { ReactNode } from "react";
import { isEnded } from "../core/index.js";
import { ConnectionBadge } from "./ConnectionBadge.js";
import { EndAnnouncement } from "./EndAnnouncement.js";
import { errorLine } from "./format.js";
import { LogTail } from "./LogTail.js";
import { RetryPanel } from "./RetryPanel.js";
import { RunProgress } from "./RunProgress.js";
import { StatusIcon } from "./StatusIcon.js";
import { StepTimeline } from "./StepTimeline.js";
import type { UseRunOptions } from "./useRun.js";
import { useRun } from "./useRun.js";
import type { Words } from "./words.js";
import { ENGLISH } from "./words.js";

export interface RunStatusProps extends UseRunOptions {
  readonly runId: string;
  /** Log lines shown; 0 for no log. Default: 200. */
  readonly logLines?: number;
  /** Whether a failed run's whole error is shown, with its traceback. Default: its message alone. */
  readonly traceback?: boolean;
  /** Say nothing to screen readers by itself: for a page with many runs. Default: new log lines and the end are said. */
  readonly quiet?: boolean;
  readonly words?: Words;
}

/** A whole run in one component, live: `<RunStatus runId="…" />`. */
export function RunStatus(props: RunStatusProps): ReactNode {
  const { runId, logLines = 200, traceback = false, quiet = false, words = ENGLISH, ...options } = props;
  const { run, logs, steps, status, connection, isStale, etaMs } = useRun(runId, options);
  const said = run.known ? words.status[status] : words.notHeard;
  return (
    <section className="rr-run" data-status={status} aria-label={run.title ?? runId}>
      <header className="rr-run-head">
        <StatusIcon status={status} label={said} />
        <strong className="rr-run-title">{run.title ?? runId}</strong>
        <span className="rr-run-state">{isEnded(status) ? said : (run.state ?? said)}</span>
        <ConnectionBadge connection={connection} words={words} />
      </header>
      <RunProgress run={run} etaMs={etaMs} words={words} />
      {isStale && <p className="rr-stale">{words.stale}</p>}
      <RetryPanel connection={connection} compact words={words} />
      <StepTimeline steps={steps} words={words} />
      {run.error !== null && <pre className="rr-error">{traceback ? run.error : errorLine(run.error)}</pre>}
      {logLines > 0 && (
        <LogTail logs={logs} lines={logLines} truncated={run.logsTruncated} quiet={quiet} words={words} />
      )}
      {!quiet && (
        <EndAnnouncement status={status} text={(end) => `${run.title ?? runId}: ${words.status[end]}`} />
      )}
    </section>
  );
}
