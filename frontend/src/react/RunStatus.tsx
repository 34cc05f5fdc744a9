import type { ReactNode } from "react";
import { ConnectionBadge } from "./ConnectionBadge.js";
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
  readonly words?: Words;
}

/** A whole run in one component, live: `<RunStatus runId="…" />`. */
export function RunStatus({ runId, logLines = 200, words = ENGLISH, ...options }: RunStatusProps): ReactNode {
  const { run, logs, steps, status, connection, isStale, etaMs } = useRun(runId, options);
  return (
    <section className="rr-run" data-status={status} aria-label={run.title ?? runId}>
      <header className="rr-run-head">
        <StatusIcon status={status} label={words.status[status]} />
        <strong className="rr-run-title">{run.title ?? runId}</strong>
        <span className="rr-run-state">{run.state ?? words.status[status]}</span>
        <ConnectionBadge connection={connection} words={words} />
      </header>
      <RunProgress run={run} etaMs={etaMs} words={words} />
      {isStale && <p className="rr-stale">{words.stale}</p>}
      <RetryPanel connection={connection} compact words={words} />
      <StepTimeline steps={steps} words={words} />
      {run.error !== null && <pre className="rr-error">{run.error}</pre>}
      {logLines > 0 && <LogTail logs={logs} lines={logLines} truncated={run.logsTruncated} words={words} />}
    </section>
  );
}
