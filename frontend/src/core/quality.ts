/** How good a connection is, in four words. Pure. Thresholds from the original client (S2). */

import type { Quality } from "./types.js";

export interface ConnectionFacts {
  readonly connected: boolean;
  /** Last ping's round trip, null where none can be measured (an event stream has no way back). */
  readonly latencyMs: number | null;
  /** Time since anything at all came. */
  readonly silenceMs: number;
  /** Pings without an answer, since the last answer. */
  readonly missed: number;
}

const LEVELS = [
  { quality: "excellent", latencyMs: 100, silenceMs: 35_000, missed: 1 },
  { quality: "good", latencyMs: 500, silenceMs: 40_000, missed: 2 },
  { quality: "poor", latencyMs: 1_000, silenceMs: 60_000, missed: 3 },
] as const;

/** The best level of which every threshold holds; `critical` when none does or the link is down. */
export function qualityOf(facts: ConnectionFacts): Quality {
  if (!facts.connected) return "critical";
  for (const level of LEVELS) {
    const quick = facts.latencyMs === null || facts.latencyMs < level.latencyMs;
    if (quick && facts.silenceMs < level.silenceMs && facts.missed < level.missed) return level.quality;
  }
  return "critical";
}
