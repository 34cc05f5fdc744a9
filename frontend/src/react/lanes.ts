/** Where a step lies on a time scale. Pure. */

import type { RunState } from "../core/index.js";
import { isEnded } from "../core/index.js";

/** A time scale, in Unix ms. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

export interface Lane {
  readonly fromPercent: number;
  readonly widthPercent: number;
}

/**
 * The time scale of a run's steps: from the first start to the end, or to `now`. Null before the first start.
 * The clocks of workers and Redis may differ: the scale is wide enough for all of them.
 */
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

/** A step's place on the scale, or null when it has not started. */
export function laneOf(span: Span, startedAt: number | null, finishedAt: number | null): Lane | null {
  if (startedAt === null || finishedAt === null) return null;
  const length = span.to - span.from;
  const fromPercent = Math.max(0, Math.min(100, ((startedAt - span.from) / length) * 100));
  const widthPercent = Math.max(0, Math.min(100 - fromPercent, ((finishedAt - startedAt) / length) * 100));
  return { fromPercent, widthPercent };
}
