/** The attempts of a run, from its events. Pure. */

import type { ProgressEvent, RunState, RunStatusName } from "../../react/index";

export interface Attempt {
  readonly attempt: number;
  readonly status: RunStatusName;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly error: string | null;
}

/** The attempts, oldest first. One that was superseded before its end has its last status. */
export function attemptsOf(events: readonly ProgressEvent[]): readonly Attempt[] {
  const byNumber = new Map<number, Attempt>();
  for (const { attempt, status, ts, error } of events) {
    const before = byNumber.get(attempt);
    byNumber.set(attempt, {
      attempt,
      status,
      startedAt: before?.startedAt ?? ts,
      endedAt: ts,
      error: error ?? before?.error ?? null,
    });
  }
  return [...byNumber.values()].sort((a, b) => a.attempt - b.attempt);
}

/**
 * How long the run was queued, in ms; null when it was not. Only a first attempt was queued when the run was created.
 */
export function queuedMs({ attempt, createdAt, startedAt }: RunState): number | null {
  if (attempt > 1 || createdAt === null || startedAt === null) return null;
  return startedAt - createdAt >= 10 ? startedAt - createdAt : null;
}
