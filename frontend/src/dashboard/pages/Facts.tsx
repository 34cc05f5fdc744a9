import type { ReactNode } from "react";
import type { RunState } from "../../react/index";
import { CopyButton } from "../CopyButton";
import { usePreferences } from "../preferences";
import { moment } from "../time";
import { useWords } from "../words";

/** The details of a run: id, pipeline, times. */
export function Facts({ run }: { run: RunState }): ReactNode {
  const words = useWords();
  const { language } = usePreferences();
  const when = (ts: number | null) => (ts === null ? null : moment(ts, language));
  const facts: readonly (readonly [string, string | null])[] = [
    [words.pipeline, run.pipeline],
    [words.created, when(run.createdAt)],
    [words.started, when(run.startedAt)],
    [words.finished, when(run.finishedAt)],
    [words.events, run.seq.toLocaleString(language)],
  ];
  return (
    <section className="panel panel-facts" aria-label={words.details}>
      <header className="panel-head">
        <h2 className="panel-title">{words.details}</h2>
      </header>
      <dl className="facts">
        <div className="fact">
          <dt>{words.runId}</dt>
          <dd className="mono fact-id">
            <span>{run.runId}</span>
            <CopyButton text={run.runId} />
          </dd>
        </div>
        {facts.map(
          ([label, value]) =>
            value !== null && (
              <div className="fact" key={label}>
                <dt>{label}</dt>
                <dd>{value}</dd>
              </div>
            ),
        )}
      </dl>
    </section>
  );
}
