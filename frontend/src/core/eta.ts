/** When a run will probably be done, from how its progress moved. Pure. */

import type { ProgressSample } from "./types.js";

/** Samples kept of one attempt: old ones are thinned so that the curve's whole length stays covered. */
const KEEP = 48;

/** The samples with one more. Equal progress replaces nothing: a plateau is information. */
export function withSample(
  samples: readonly ProgressSample[],
  next: ProgressSample,
): readonly ProgressSample[] {
  const last = samples.at(-1);
  if (last !== undefined && (next.ts <= last.ts || next.progress < last.progress)) return samples;
  const all = [...samples, next];
  if (all.length <= KEEP) return all;
  // Every second one of the older half goes: memory stays bounded, the recent pace keeps its detail.
  return all.filter((_, index) => index > KEEP / 2 || index % 2 === 0);
}

/**
 * Milliseconds until the end, seen at the last sample; null while nothing can be said.
 * The recent pace (last third of the progress made) weighs as much as the whole run's, because
 * pipelines change their pace from step to step and neither alone is right.
 */
export function remainingMs(samples: readonly ProgressSample[]): number | null {
  const first = samples[0];
  const last = samples.at(-1);
  if (first === undefined || last === undefined) return null;
  if (last.progress >= 1) return 0;
  const made = last.progress - first.progress;
  const took = last.ts - first.ts;
  if (made < 0.02 || took < 1_000) return null; // too little to promise anything
  const recent = samples.findLast((sample) => last.progress - sample.progress >= made / 3) ?? first;
  const paceAll = took / made;
  const paceRecent = (last.ts - recent.ts) / (last.progress - recent.progress);
  return Math.round((1 - last.progress) * ((paceAll + paceRecent) / 2));
}
