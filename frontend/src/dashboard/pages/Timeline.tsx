import type { ReactNode } from "react";
import type { RunState } from "../../react/index";
import { duration, isEnded, StepTimeline, spanOf, ticking } from "../../react/index";
import { useNow } from "../../react/useNow";
import { useWords } from "../words";
import { queuedMs } from "./attempts";
import { wholeRun } from "./wholeRun";

/** When each step ran, on one time scale: which steps waited, which ran at the same time, which took long. */
export function Timeline({ run }: { run: RunState }): ReactNode {
  const words = useWords();
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
      <StepTimeline
        steps={run.steps.length === 0 ? [wholeRun(run, words.run)] : run.steps}
        span={span}
        words={words}
      />
    </section>
  );
}
