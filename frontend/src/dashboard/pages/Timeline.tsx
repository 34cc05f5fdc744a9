import type { ReactNode, RefObject } from "react";
import { useEffect, useRef } from "react";
import type { RunState, Step } from "../../react/index";
import { duration, isEnded, StepTimeline, spanOf, ticking } from "../../react/index";
import { useNow } from "../../react/useNow";
import { useWords } from "../words";
import { queuedMs } from "./attempts";
import { stepInSight } from "./stepInSight";
import { wholeRun } from "./wholeRun";

export interface TimelineProps {
  readonly run: RunState;
  /** The step whose lines the log shows, or null. `onStep` is called with the one that the reader has clicked. */
  readonly step: string | null;
  readonly onStep: (step: string | null) => void;
}

/** When each step ran, on one time scale: which steps waited, which ran at the same time, which took long. */
export function Timeline({ run, step, onStep }: TimelineProps): ReactNode {
  const words = useWords();
  const box = useStepInSight(run.steps);
  const ended = isEnded(run.status);
  const now = useNow(!ended);
  const span = spanOf(run, now);
  if (span === null || (run.steps.length === 0 && run.startedAt === null)) return null;
  const waitedMs = queuedMs(run);
  const ranMs = run.startedAt === null ? null : Math.max(0, (run.finishedAt ?? span.to) - run.startedAt);
  return (
    <section className="panel" aria-label={words.steps}>
      <header className="panel-head">
        <h2 className="panel-title">{words.steps}</h2>
        <span className="muted panel-note">
          {waitedMs !== null && words.queuedFor(duration(waitedMs, words.units))}
          {waitedMs !== null && ranMs !== null && " · "}
          {ranMs !== null && words.ranFor((ended ? duration : ticking)(ranMs, words.units))}
        </span>
      </header>
      <div className="steps-box" ref={box}>
        {run.steps.length === 0 ? (
          <StepTimeline steps={[wholeRun(run, words.run)]} span={span} words={words} />
        ) : (
          <StepTimeline
            steps={run.steps}
            span={span}
            words={words}
            selected={step}
            onSelect={(name) => onStep(name === step ? null : name)}
          />
        )}
      </div>
    </section>
  );
}

/** Scrolls the steps to the one that began last, or has failed; not while the reader is there. */
function useStepInSight(steps: readonly Step[]): RefObject<HTMLDivElement | null> {
  const box = useRef<HTMLDivElement>(null);
  const index = stepInSight(steps);
  const name = steps[index]?.name ?? null;
  // biome-ignore lint/correctness/useExhaustiveDependencies: another step at the same place is another one
  useEffect(() => {
    const element = box.current;
    const row = element?.querySelectorAll(".rr-step")[index];
    if (element === null || row === undefined || element.matches(":hover, :focus-within")) return;
    const rowRect = row.getBoundingClientRect();
    const boxRect = element.getBoundingClientRect();
    element.scrollTop += rowRect.top + rowRect.height / 2 - (boxRect.top + boxRect.height / 2);
  }, [index, name]);
  return box;
}
