/** A run without declared steps, on the timeline. Pure. */

import type { RunState, Step } from "../../react/index";
import { isEnded } from "../../react/index";

/** States that the system sets itself: they say nothing of what the task did. */
const OF_THE_SYSTEM = new Set(["QUEUED", "STARTED", "RETRYING"]);

/**
 * A run without steps, as one step. It has the name of the state that the task is in, or was in when it ended
 * (END and FAILED are no names of what was done), or else `name`.
 */
export function wholeRun(run: RunState, name: string): Step {
  const { state, endedIn, status, startedAt, finishedAt } = run;
  const told = isEnded(status) ? endedIn : state;
  const unsaid = { progress: null, attempt: 1, weight: 1, error: null };
  return {
    ...unsaid,
    name: told === null || OF_THE_SYSTEM.has(told) ? name : told,
    status,
    startedAt,
    finishedAt,
  };
}
