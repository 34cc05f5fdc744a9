/** Which transport to try next. Pure. */

import type { TransportKind } from "./types.js";

/** Best first. A transport that is left out of a client's own list is never used. */
export const FALLBACK_ORDER: readonly TransportKind[] = ["websocket", "sse", "polling"];

export interface Failure {
  readonly kind: TransportKind;
  /** Whether it had carried anything before it failed. */
  readonly proven: boolean;
}

export interface NextTransport {
  readonly kind: TransportKind;
  /** False for a fallback within one round: it costs no try and hardly waits. */
  readonly counts: boolean;
}

export function nextTransport(transports: readonly TransportKind[], failure: Failure): NextTransport {
  // It carried frames a moment ago: more likely a restart than a proxy that forbids it. The same again, after a wait.
  if (failure.proven) return { kind: failure.kind, counts: true };
  // It does not work now: fall back to the next one at once. If that works only because the relay is back by then, the
  // upgrade comes five seconds later.
  const below = transports[transports.indexOf(failure.kind) + 1];
  if (below !== undefined) return { kind: below, counts: false };
  // None works: another round from the best one, after a wait.
  return { kind: transports[0] ?? "polling", counts: true };
}

/** Waits before an upgrade is tried: a proxy's rules rarely change, a restart is over soon. */
const UPGRADE_MS = [5_000, 15_000, 60_000, 300_000] as const;

export function upgradeDelayMs(tries: number): number {
  return UPGRADE_MS[Math.min(tries, UPGRADE_MS.length - 1)] ?? UPGRADE_MS[0];
}
