import type { ReactNode } from "react";
import type { RunSummary } from "../core/index.js";
import { STATUS_SETS } from "../core/index.js";
import { percent } from "./format.js";
import type { Words } from "./words.js";
import { ENGLISH } from "./words.js";

export interface ProgressBarProps {
  /** `known` is false before the first frame about the run: then no status is said. */
  readonly run: Pick<RunSummary, "progress" | "status" | "state"> & { readonly known?: boolean };
  /** The accessible name. Default: `words.progress`. */
  readonly label?: string;
  readonly words?: Words;
}

/** Whether a run is working and has no progress. The only rule for it: everything that draws progress uses it. */
export function isIndeterminate({ progress, status }: Pick<RunSummary, "progress" | "status">): boolean {
  return progress === null && status !== "queued" && STATUS_SETS.active.some((active) => active === status);
}

/** The progress bar alone. Without progress it has no ARIA value. */
export function ProgressBar({ run, label, words = ENGLISH }: ProgressBarProps): ReactNode {
  const { progress, status, state } = run;
  const indeterminate = isIndeterminate(run);
  const shown =
    progress !== null ? percent(progress) : run.known === false ? words.notHeard : words.status[status];
  return (
    <div
      className="rr-progress-track"
      data-status={status}
      data-indeterminate={indeterminate || undefined}
      role="progressbar"
      aria-label={label ?? words.progress}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={progress === null ? undefined : Math.floor(progress * 100 + 1e-6)}
      aria-valuetext={progress === null || state === null ? shown : `${shown}, ${state}`}
    >
      <div
        className="rr-progress-bar"
        style={{ transform: `scaleX(${progress ?? (indeterminate ? 1 : 0)})` }}
      />
    </div>
  );
}
