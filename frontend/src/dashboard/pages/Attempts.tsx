import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { errorLine } from "../../react/format";
import type { RunState } from "../../react/index";
import { duration, isEnded, StatusIcon, ticking, useRelayClient } from "../../react/index";
import { useNow } from "../../react/useNow";
import { useWords } from "../words";
import { attemptsOf } from "./attempts";

/**
 * The attempts of a run that has more than one. They are read from the run log, which may no longer have the first
 * ones.
 */
export function Attempts({ run }: { run: RunState }): ReactNode {
  const words = useWords();
  const relay = useRelayClient();
  const [epoch = ""] = run.cursor.split("-");
  const ended = isEnded(run.status);
  const now = useNow(!ended);
  const query = useQuery({
    queryKey: ["events", run.runId, epoch, run.attempt],
    queryFn: async ({ signal }) => attemptsOf(await relay.api.events(run.runId, epoch, signal)),
    enabled: run.attempt > 1,
  });
  if (run.attempt <= 1 || query.data === undefined) return null;
  const earlier = query.data.filter(({ attempt }) => attempt < run.attempt);
  const begun = run.startedAt ?? query.data.find(({ attempt }) => attempt === run.attempt)?.startedAt ?? null;
  const end = ended ? (run.finishedAt ?? run.updatedAt) : now;
  return (
    <section className="panel" aria-label={words.attempts}>
      <header className="panel-head">
        <h2 className="panel-title">{words.attempts}</h2>
      </header>
      <ol className="attempts">
        {earlier.length === 0 && <li className="muted">{words.attemptsGone}</li>}
        {earlier.map(({ attempt, status, startedAt, endedAt, error }) => (
          <li key={attempt} className="attempt" data-status={status}>
            <StatusIcon status={status} label={words.status[status]} />
            <span>{words.attempt(attempt)}</span>
            <span className="attempt-time">{duration(endedAt - startedAt, words.units)}</span>
            {error !== null && <span className="attempt-error">{errorLine(error)}</span>}
          </li>
        ))}
        <li className="attempt" data-status={run.status}>
          <StatusIcon status={run.status} label={words.status[run.status]} />
          <span>{words.attempt(run.attempt)}</span>
          <span className="attempt-time">
            {begun !== null && end !== null && end > begun
              ? (ended ? duration : ticking)(end - begun, words.units)
              : ""}
          </span>
        </li>
      </ol>
    </section>
  );
}
