/** The attempts of a run, from its events. Pure. */

import type { ProgressEvent, RunStatusName } from "../../react/index";

export interface Attempt {
  readonly attempt: number;
  readonly status: RunStatusName;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly error: string | null;
}

/** Oldest first. An attempt that was overtaken before it ended shows the status that it had. */
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
