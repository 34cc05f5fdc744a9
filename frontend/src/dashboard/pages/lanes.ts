/** Where a step lies on the run's time scale. Pure. */

import type { RunState } from "../../react/index";
import { isEnded } from "../../react/index";

export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface Lane {
  readonly fromPercent: number;
  readonly widthPercent: number;
}

/** From the first thing that happened until the end, or now. Clocks of workers and Redis differ: nothing is cut off. */
export function spanOf(run: RunState, now: number): Span | null {
  const starts = run.steps.flatMap((step) => step.startedAt ?? []);
  const ends = run.steps.flatMap((step) => step.finishedAt ?? []);
  const from = Math.min(run.startedAt ?? Number.POSITIVE_INFINITY, ...starts);
  if (!Number.isFinite(from)) return null;
  const end = isEnded(run.status)
    ? (run.finishedAt ?? run.updatedAt ?? from)
    : Math.max(now, run.updatedAt ?? from);
  return { from, to: Math.max(from + 1, end, ...ends) };
}

/** How long the run waited to begin, in ms; null when it did not. A later attempt was not queued when the run was made. */
export function queuedMs({ attempt, createdAt, startedAt }: RunState): number | null {
  if (attempt > 1 || createdAt === null || startedAt === null) return null;
  return startedAt - createdAt >= 10 ? startedAt - createdAt : null;
}

/** A step's place, or null when it has not begun. */
export function laneOf(span: Span, startedAt: number | null, finishedAt: number | null): Lane | null {
  if (startedAt === null || finishedAt === null) return null;
  const length = span.to - span.from;
  const fromPercent = Math.max(0, Math.min(100, ((startedAt - span.from) / length) * 100));
  const widthPercent = Math.max(0, Math.min(100 - fromPercent, ((finishedAt - startedAt) / length) * 100));
  return { fromPercent, widthPercent };
}
