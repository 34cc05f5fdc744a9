import type { ReactNode } from "react";
import type { Step } from "../core/index.js";
import { isEnded } from "../core/index.js";
import { duration, errorLine, percent, ticking } from "./format.js";
import type { Span } from "./lanes.js";
import { laneOf } from "./lanes.js";
import { StatusIcon } from "./StatusIcon.js";
import { useNow } from "./useNow.js";
import type { Words } from "./words.js";
import { ENGLISH } from "./words.js";

export interface StepTimelineProps {
  readonly steps: readonly Step[];
  /** A time scale (`spanOf`). With it each step has a bar that shows when it ran; its end is the current time. */
  readonly span?: Span;
  /** The name of the selected step, or null. With `onSelect` each name is a button that calls it. */
  readonly selected?: string | null;
  readonly onSelect?: (name: string) => void;
  readonly words?: Words;
}

/** The steps in order, each with its status, progress and how long it took. */
export function StepTimeline(props: StepTimelineProps): ReactNode {
  const { steps, span, selected = null, onSelect, words = ENGLISH } = props;
  const moving = steps.some((step) => step.startedAt !== null && !isEnded(step.status));
  const now = useNow(moving && span === undefined);
  if (steps.length === 0) return null;
  return (
    <ol className="rr-steps" data-lanes={span !== undefined || undefined} aria-label={words.steps}>
      {steps.map((step) => (
        <StepRow
          key={step.name}
          step={step}
          now={span?.to ?? now}
          span={span}
          isSelected={step.name === selected}
          onSelect={onSelect}
          words={words}
        />
      ))}
    </ol>
  );
}

interface StepRowProps {
  readonly step: Step;
  readonly now: number;
  readonly span: Span | undefined;
  readonly isSelected: boolean;
  readonly onSelect: StepTimelineProps["onSelect"];
  readonly words: Words;
}

function StepRow({ step, now, span, isSelected, onSelect, words }: StepRowProps): ReactNode {
  const { name, status, attempt, startedAt, error } = step;
  const ended = isEnded(status);
  // 0: no time yet, on a server and before the clock's first tick
  const end = step.finishedAt ?? (ended || now === 0 ? null : now);
  const tookMs = startedAt === null || end === null ? null : Math.max(0, end - startedAt);
  const progress = ended || status === "queued" ? null : step.progress;
  const lane = span === undefined ? null : laneOf(span, startedAt, end ?? startedAt);
  return (
    <li className="rr-step" data-status={status}>
      <StatusIcon status={status} label={words.status[status]} />
      <span className="rr-step-name" title={name}>
        {onSelect === undefined ? (
          <span className="rr-step-text">{name}</span>
        ) : (
          <button
            type="button"
            className="rr-step-text rr-step-button"
            aria-pressed={isSelected}
            onClick={() => onSelect(name)}
          >
            {name}
          </button>
        )}
        {attempt > 1 && <span className="rr-step-attempt">×{attempt}</span>}
      </span>
      {span !== undefined && (
        <span className="rr-lane" aria-hidden="true">
          {lane !== null && (
            <span
              className="rr-lane-bar"
              style={{ left: `${lane.fromPercent}%`, width: `max(4px, ${lane.widthPercent}%)` }}
            >
              {progress !== null && (
                <span className="rr-lane-fill" style={{ transform: `scaleX(${progress})` }} />
              )}
            </span>
          )}
        </span>
      )}
      {progress !== null && <span className="rr-step-percent">{percent(progress)}</span>}
      {tookMs !== null && (span === undefined || progress === null) && (
        <span className="rr-step-time">{(ended ? duration : ticking)(tookMs, words.units)}</span>
      )}
      {error !== null && <span className="rr-step-error">{errorLine(error)}</span>}
    </li>
  );
}
