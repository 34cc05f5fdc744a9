/** The fallback: which transport to try next. Pure. */

import type { TransportKind } from "./types.js";
import { TRANSPORT_KINDS } from "./types.js";

/** Best first. A client may have its own list; a transport that is not in it is never used. */
export const FALLBACK_ORDER: readonly TransportKind[] = TRANSPORT_KINDS;

export interface Failure {
  readonly kind: TransportKind;
  /** Whether it had carried a frame before it failed. */
  readonly proven: boolean;
}

export interface NextTransport {
  readonly kind: TransportKind;
  /** False for a fallback within one round: it is not counted as a retry and hardly waits. */
  readonly counts: boolean;
}

export function nextTransport(transports: readonly TransportKind[], failure: Failure): NextTransport {
  // It carried frames a moment ago. A restart of the relay is more likely than a proxy that forbids it: the same again.
  if (failure.proven) return { kind: failure.kind, counts: true };
  // It does not work now: fall back to the next one at once. If the relay was only restarting, the upgrade comes five
  // seconds later.
  const below = transports[transports.indexOf(failure.kind) + 1];
  if (below !== undefined) return { kind: below, counts: false };
  // None works: start again with the best one, after a wait.
  return { kind: transports[0] ?? "polling", counts: true };
}

/**
 * Waits before a probe, in ms. The first are short, for a restart of the relay; the last is long, for a proxy's rules.
 */
const UPGRADE_MS = [5_000, 15_000, 60_000, 300_000] as const;

export function upgradeDelayMs(tries: number): number {
  return UPGRADE_MS[Math.min(tries, UPGRADE_MS.length - 1)] ?? UPGRADE_MS[0];
}
