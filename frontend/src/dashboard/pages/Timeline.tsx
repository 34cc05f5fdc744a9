import type { ReactNode } from "react";
import type { RunState, Step } from "../../react/index";
import { duration, isEnded, percent, StatusIcon, ticking } from "../../react/index";
import { useNow } from "../../react/useNow";
import { useWords } from "../words";
import type { Lane } from "./lanes";
import { laneOf, queuedMs, spanOf } from "./lanes";

/** When each step ran, beside each other on one scale: what waited, what ran at once, what took long. */
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
      <ol className="lanes">
        {run.steps.length === 0 && (
          <Row
            step={null}
            status={run.status}
            name={run.state ?? words.run}
            lane={laneOf(span, run.startedAt, run.finishedAt ?? span.to)}
            tookMs={ranMs}
          />
        )}
        {run.steps.map((step) => {
          const end = step.finishedAt ?? (isEnded(step.status) ? step.startedAt : span.to);
          const tookMs = step.startedAt === null || end === null ? null : Math.max(0, end - step.startedAt);
          return (
            <Row
              key={step.name}
              step={step}
              status={step.status}
              name={step.name}
              lane={laneOf(span, step.startedAt, end)}
              tookMs={tookMs}
            />
          );
        })}
      </ol>
    </section>
  );
}

interface RowProps {
  readonly step: Step | null;
  readonly status: RunState["status"];
  readonly name: string;
  readonly lane: Lane | null;
  readonly tookMs: number | null;
}

function Row({ step, status, name, lane, tookMs }: RowProps): ReactNode {
  const words = useWords();
  const running = !isEnded(status) && status !== "queued";
  return (
    <li className="lane" data-status={status}>
      <StatusIcon status={status} label={words.status[status]} />
      <span className="lane-name" title={name}>
        {name}
        {step !== null && step.attempt > 1 && <span className="tag">×{step.attempt}</span>}
      </span>
      <span className="lane-track" aria-hidden="true">
        {lane !== null && (
          <span
            className="lane-bar"
            style={{ left: `${lane.fromPercent}%`, width: `max(4px, ${lane.widthPercent}%)` }}
          >
            {running && step?.progress != null && (
              <span className="lane-fill" style={{ transform: `scaleX(${step.progress})` }} />
            )}
          </span>
        )}
      </span>
      <span className="lane-number">
        {running && step?.progress != null
          ? percent(step.progress)
          : tookMs === null
            ? ""
            : (running ? ticking : duration)(tookMs, words.units)}
      </span>
      {step?.error != null && <span className="lane-error">{step.error.trimEnd().split("\n").at(-1)}</span>}
    </li>
  );
}
