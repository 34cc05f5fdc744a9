/** Which transport to try next. Pure: the order is WebSocket, SSE, polling; what is left out stays out. */

import type { TransportKind } from "./types.js";

export const LADDER: readonly TransportKind[] = ["websocket", "sse", "polling"];

export interface Failure {
  readonly kind: TransportKind;
  /** Whether it had carried anything before it failed. */
  readonly proven: boolean;
}

export interface NextTry {
  readonly kind: TransportKind;
  /** False for a step down within one round: it costs no try and hardly waits. */
  readonly counts: boolean;
}

export function nextTry(ladder: readonly TransportKind[], failure: Failure): NextTry {
  // It carried frames a moment ago: more likely a restart or a tunnel than a wall. The same again, after a wait.
  if (failure.proven) return { kind: failure.kind, counts: true };
  // It does not get through now, whether or not it ever did: the next one down, at once. If that works
  // because the relay is back by then, the way up is five seconds.
  const below = ladder[ladder.indexOf(failure.kind) + 1];
  if (below !== undefined) return { kind: below, counts: false };
  // Nothing gets through: another round from the top, after a wait.
  return { kind: ladder[0] ?? "polling", counts: true };
}

/** Waits before looking whether a better transport works again: a wall rarely moves, a restart is over soon. */
const CLIMB_MS = [5_000, 15_000, 60_000, 300_000] as const;

export function climbDelayMs(tries: number): number {
  return CLIMB_MS[Math.min(tries, CLIMB_MS.length - 1)] ?? CLIMB_MS[0];
}
