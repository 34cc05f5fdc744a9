/** The quality of a connection, in four levels. Pure. Thresholds from the original client (S2). */

import type { Quality } from "./types.js";

export interface ConnectionFacts {
  readonly connected: boolean;
  /** The last ping's round trip; null where none can be measured (the client cannot send over an event stream). */
  readonly latencyMs: number | null;
  /** The time since anything was received. */
  readonly silenceMs: number;
  /** Unanswered pings since the last answer. */
  readonly missed: number;
}

const LEVELS = [
  { quality: "excellent", latencyMs: 100, silenceMs: 35_000, missed: 1 },
  { quality: "good", latencyMs: 500, silenceMs: 40_000, missed: 2 },
  { quality: "poor", latencyMs: 1_000, silenceMs: 60_000, missed: 3 },
] as const;

/** The best level whose thresholds all hold; `critical` when there is none, or when not connected. */
export function qualityOf(facts: ConnectionFacts): Quality {
  if (!facts.connected) return "critical";
  for (const level of LEVELS) {
    const quick = facts.latencyMs === null || facts.latencyMs < level.latencyMs;
    if (quick && facts.silenceMs < level.silenceMs && facts.missed < level.missed) return level.quality;
  }
  return "critical";
}
