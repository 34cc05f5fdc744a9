/** What a run's times say of its attempt. Pure. */

import type { RunState } from "../../react/index";

/**
 * How long the run was queued, in ms; null when it was not. Only a first attempt was queued when the run was created.
 */
export function queuedMs({ attempt, createdAt, startedAt }: RunState): number | null {
  if (attempt > 1 || createdAt === null || startedAt === null) return null;
  return startedAt - createdAt >= 10 ? startedAt - createdAt : null;
}
