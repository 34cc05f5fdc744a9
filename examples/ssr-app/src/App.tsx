import { RunProgress, StatusIcon, useRun } from "@runrelay/react";

/** The same on both sides: a server shows that nothing is known yet, the page then follows the run. */
export function App({ runId, relay }: { runId: string; relay: string }) {
  const { run, status, etaMs, logs } = useRun(runId, { baseUrl: relay });
  return (
    <article>
      <h1>
        <StatusIcon status={status} label={status} /> {run.title ?? runId}
      </h1>
      <RunProgress run={run} etaMs={etaMs} />
      <pre id="last-line">{logs.at(-1)?.message ?? ""}</pre>
    </article>
  );
}
