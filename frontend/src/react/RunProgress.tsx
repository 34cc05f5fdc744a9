import type { ReactNode } from "react";
import { isEnded } from "../core/index.js";
import { percent, roughDuration } from "./format.js";
import type { ProgressBarProps } from "./ProgressBar.js";
import { isIndeterminate, ProgressBar } from "./ProgressBar.js";
import type { Words } from "./words.js";
import { ENGLISH } from "./words.js";

export interface RunProgressProps {
  readonly run: ProgressBarProps["run"];
  /** Estimated time until the end in ms, shown beside the percentage while the run is active. */
  readonly etaMs?: number | null;
  /** The accessible name. Default: `words.progress`. */
  readonly label?: string;
  readonly words?: Words;
  /** Shown beside the percentage: for example the run's state. */
  readonly children?: ReactNode;
}

/** The progress bar with its percentage. */
export function RunProgress({
  run,
  etaMs = null,
  label,
  words = ENGLISH,
  children,
}: RunProgressProps): ReactNode {
  const { progress, status } = run;
  return (
    <div className="rr-progress" data-status={status}>
      <ProgressBar run={run} label={label} words={words} />
      <div className="rr-progress-text">
        <span className="rr-progress-percent">
          {progress === null ? (isIndeterminate(run) ? "…" : "–") : percent(progress)}
        </span>
        {children}
        {!isEnded(status) && etaMs !== null && (
          <span className="rr-progress-eta">{words.remaining(roughDuration(etaMs, words.units))}</span>
        )}
      </div>
    </div>
  );
}
