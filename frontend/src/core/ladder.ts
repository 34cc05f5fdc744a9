/** Which transport to try next. Pure: the order is WebSocket, SSE, polling; what is left out stays out. */

import type { TransportKind } from "./types.js";

export const LADDER: readonly TransportKind[] = ["websocket", "sse", "polling"];

export interface Failure {
  readonly kind: TransportKind;
  /** Whether it had carried anything before it failed. */
  readonly proven: boolean;
  /** Failed tries of this kind in a row without being proven, this one included. */
  readonly failures: number;
  /** Whether this kind ever worked on this page. */
  readonly worked: boolean;
}

export interface NextTry {
  readonly kind: TransportKind;
  /** False for a step down to something not yet tried: it costs no retry and hardly waits. */
  readonly counts: boolean;
}

/** A transport that worked before is given this many tries before the next one down. */
const PATIENCE = 2;

export function nextTry(ladder: readonly TransportKind[], failure: Failure): NextTry {
  const index = ladder.indexOf(failure.kind);
  const below = ladder[index + 1];
  // It carried frames a moment ago: more likely a restart or a tunnel than a wall. The same again.
  if (failure.proven) return { kind: failure.kind, counts: true };
  // It worked on this page before: the relay is probably away; a lower rung would not be better off.
  if (failure.worked && failure.failures < PATIENCE) return { kind: failure.kind, counts: true };
  // Something on the way does not let it through: the next rung down, at once.
  if (below !== undefined) return { kind: below, counts: false };
  // Nothing gets through: from the top, after a wait.
  return { kind: ladder[0] ?? "polling", counts: true };
}

/** Waits before looking whether a better transport works again: a wall rarely moves, a restart is over soon. */
const CLIMB_MS = [5_000, 15_000, 60_000, 300_000] as const;

export function climbDelayMs(tries: number): number {
  return CLIMB_MS[Math.min(tries, CLIMB_MS.length - 1)] ?? CLIMB_MS[0];
}
