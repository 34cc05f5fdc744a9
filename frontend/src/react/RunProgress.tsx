import type { ReactNode } from "react";
import type { RunState } from "../core/index.js";
import { isEnded } from "../core/index.js";
import { percent, roughDuration } from "./format.js";
import type { Words } from "./words.js";
import { ENGLISH } from "./words.js";

export interface RunProgressProps {
  readonly run: RunState;
  /** Shown beside the percentage while the run is unfinished. */
  readonly etaMs?: number | null;
  readonly label?: string;
  readonly words?: Words;
}

/** The bar. Indeterminate while the run has no progress: then it has no value either, as ARIA wants it. */
export function RunProgress({ run, etaMs = null, label, words = ENGLISH }: RunProgressProps): ReactNode {
  const ended = isEnded(run.status);
  const value = run.progress;
  const waiting = value === null && !ended && run.status !== "unknown" && run.status !== "queued";
  return (
    <div className="rr-progress" data-status={run.status} data-indeterminate={waiting || undefined}>
      <div
        className="rr-progress-track"
        role="progressbar"
        aria-label={label ?? words.progress}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={value === null ? undefined : Math.floor(value * 100 + 1e-6)}
        aria-valuetext={value === null ? words.status[run.status] : percent(value)}
      >
        <div className="rr-progress-bar" style={{ transform: `scaleX(${value ?? (waiting ? 1 : 0)})` }} />
      </div>
      <div className="rr-progress-text">
        <span className="rr-progress-percent">{value === null ? "–" : percent(value)}</span>
        {!ended && etaMs !== null && (
          <span className="rr-progress-eta">{words.remaining(roughDuration(etaMs, words.units))}</span>
        )}
      </div>
    </div>
  );
}
