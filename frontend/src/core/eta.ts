/** The estimated time until a run ends, from its progress samples. Pure. */

import type { ProgressSample } from "./types.js";

/** Samples kept of one attempt. Old ones are thinned out, so that the samples still cover the whole attempt. */
const KEEP = 48;

/** The samples with one more. A sample with equal progress is kept, too: it shows that the run made no progress. */
export function withSample(
  samples: readonly ProgressSample[],
  next: ProgressSample,
): readonly ProgressSample[] {
  const last = samples.at(-1);
  if (last !== undefined && (next.ts <= last.ts || next.progress < last.progress)) return samples;
  const all = [...samples, next];
  if (all.length <= KEEP) return all;
  // Drop every second sample of the older half: memory stays bounded, the recent samples stay exact.
  return all.filter((_, index) => index > KEEP / 2 || index % 2 === 0);
}

/**
 * Milliseconds from the last sample to the end; null while there is too little progress for an estimate.
 * The estimate is the mean of two speeds: that of the whole attempt, and that of the last third of the progress made.
 * A pipeline's speed changes from step to step, so neither is right alone.
 */
export function remainingMs(samples: readonly ProgressSample[]): number | null {
  const first = samples[0];
  const last = samples.at(-1);
  if (first === undefined || last === undefined) return null;
  if (last.progress >= 1) return 0;
  const made = last.progress - first.progress;
  const took = last.ts - first.ts;
  if (made < 0.02 || took < 1_000) return null; // too little for an estimate
  const recent = samples.findLast((sample) => last.progress - sample.progress >= made / 3) ?? first;
  const paceAll = took / made;
  const paceRecent = (last.ts - recent.ts) / (last.progress - recent.progress);
  return Math.round((1 - last.progress) * ((paceAll + paceRecent) / 2));
}
