import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useState } from "react";
import { errorLine } from "../../react/format";
import type { RunState } from "../../react/index";
import { duration, isEnded, StatusIcon, ticking, useRelayClient } from "../../react/index";
import { useNow } from "../../react/useNow";
import { useWords } from "../words";
import { ErrorPanel } from "./ErrorPanel";
import { ResultPanel } from "./ResultPanel";

/** The attempts of a run that has more than one. The relay keeps the last ten, each with its error and result. */
export function Attempts({ run }: { run: RunState }): ReactNode {
  const words = useWords();
  const relay = useRelayClient();
  const [epoch = ""] = run.cursor.split("-");
  const ended = isEnded(run.status);
  const now = useNow(!ended);
  const [open, setOpen] = useState<number | null>(null);
  const query = useQuery({
    queryKey: ["attempts", run.runId, epoch, run.attempt],
    queryFn: ({ signal }) => relay.api.attempts(run.runId, signal),
    enabled: run.attempt > 1,
  });
  if (run.attempt <= 1 || query.data === undefined) return null;
  const earlier = query.data;
  const begun = run.startedAt;
  const end = ended ? (run.finishedAt ?? run.updatedAt) : now;
  return (
    <section className="panel" aria-label={words.attempts}>
      <header className="panel-head">
        <h2 className="panel-title">{words.attempts}</h2>
      </header>
      <ol className="attempts">
        {earlier.length === 0 && <li className="muted">{words.attemptsGone}</li>}
        {earlier.map(({ attempt, status, startedAt, finishedAt, error }) => (
          <li key={attempt} className="attempt" data-status={status}>
            <StatusIcon status={status} label={words.status[status]} />
            <span>{words.attempt(attempt)}</span>
            <span className="attempt-time">
              {startedAt !== null && finishedAt !== null && duration(finishedAt - startedAt, words.units)}
            </span>
            {error !== null && <span className="attempt-error">{errorLine(error)}</span>}
            <button
              type="button"
              className="button attempt-open"
              aria-expanded={open === attempt}
              onClick={() => setOpen(open === attempt ? null : attempt)}
            >
              {open === attempt ? words.hideAttempt : words.showAttempt}
            </button>
            {open === attempt && <PastAttemptPanel run={run} attempt={attempt} />}
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

/** What an earlier attempt has made, or why it failed. Its files may have been replaced by a later one. */
function PastAttemptPanel({ run, attempt }: { run: RunState; attempt: number }): ReactNode {
  const words = useWords();
  const relay = useRelayClient();
  const { data, error } = useQuery({
    queryKey: ["attempt", run.runId, run.createdAt, attempt],
    queryFn: ({ signal }) => relay.api.attempt(run.runId, attempt, signal),
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
  });
  return (
    <div className="attempt-past">
      {error !== null && <p className="muted">{words.attemptNotKept}</p>}
      {data?.error != null && <ErrorPanel error={data.error} />}
      {data?.result != null && (
        <ResultPanel runId={run.runId} result={data.result} name={run.title ?? run.runId} />
      )}
      {data != null && data.error === null && data.result === null && (
        <p className="muted">{words.attemptEmpty}</p>
      )}
    </div>
  );
}
