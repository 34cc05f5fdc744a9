/** Which of many steps a reader wants to see. Pure. */

import type { Step } from "../../react/index";

/** The index of the running step that began last, else of the first failed one; -1 when there is none. */
export function stepInSight(steps: readonly Step[]): number {
  let found = -1;
  steps.forEach(({ status, startedAt }, index) => {
    const latest = steps[found]?.startedAt ?? Number.NEGATIVE_INFINITY;
    if (status === "running" && (startedAt ?? 0) >= latest) found = index;
  });
  return found === -1 ? steps.findIndex(({ status }) => status === "failed") : found;
}
