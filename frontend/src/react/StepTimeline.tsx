import type { ReactNode } from "react";
import type { Step } from "../core/index.js";
import { isEnded } from "../core/index.js";
import { duration, percent, ticking } from "./format.js";
import { StatusIcon } from "./StatusIcon.js";
import { useNow } from "./useNow.js";
import type { Words } from "./words.js";
import { ENGLISH } from "./words.js";

export interface StepTimelineProps {
  readonly steps: readonly Step[];
  readonly words?: Words;
}

/** The steps in order, each with its status, progress and how long it took. */
export function StepTimeline({ steps, words = ENGLISH }: StepTimelineProps): ReactNode {
  const moving = steps.some((step) => step.startedAt !== null && !isEnded(step.status));
  const now = useNow(moving);
  if (steps.length === 0) return null;
  return (
    <ol className="rr-steps" aria-label={words.steps}>
      {steps.map((step) => {
        const end = step.finishedAt ?? (isEnded(step.status) ? null : now);
        const took = step.startedAt === null || end === null ? null : end - step.startedAt;
        return (
          <li key={step.name} className="rr-step" data-status={step.status}>
            <StatusIcon status={step.status} label={words.status[step.status]} />
            <span className="rr-step-name">{step.name}</span>
            {step.attempt > 1 && <span className="rr-step-attempt">×{step.attempt}</span>}
            {step.progress !== null && !isEnded(step.status) && (
              <span className="rr-step-percent">{percent(step.progress)}</span>
            )}
            {took !== null && took >= 0 && (
              <span className="rr-step-time">
                {(isEnded(step.status) ? duration : ticking)(took, words.units)}
              </span>
            )}
            {step.error !== null && <span className="rr-step-error">{step.error}</span>}
          </li>
        );
      })}
    </ol>
  );
}
