/** The settings of a connection: its transports, its waits, and where its token comes from. */

import type { BackoffOptions } from "./backoff.js";
import { BACKOFF } from "./backoff.js";
import { FALLBACK_ORDER } from "./fallback.js";
import type { Transport, TransportEvents } from "./transport.js";
import type { TransportKind } from "./types.js";

export interface ConnectionOptions {
  readonly transports: readonly TransportKind[];
  readonly backoff: BackoffOptions;
  /**
   * After this time a connection counts as healthy, and the retry count is reset. After 4408 (too slow) it takes
   * longer.
   */
  readonly healthyAfterMs: number;
  readonly healthyAfterSlowMs: number;
  /** A page that is hidden for this long closes its connection until it is visible again. */
  readonly pauseHiddenAfterMs: number;
}

export const CONNECTION_DEFAULTS: ConnectionOptions = {
  transports: FALLBACK_ORDER,
  backoff: BACKOFF,
  healthyAfterMs: 10_000,
  healthyAfterSlowMs: 30_000,
  pauseHiddenAfterMs: 5 * 60_000,
};

/**
 * Opens a transport; called again with the renewed token after 4401. Throws when this environment has no such
 * transport.
 */
export type Opener = (kind: TransportKind, token: string | null, events: TransportEvents) => Transport;
export type TokenSource = (renew: boolean) => Promise<string | null> | string | null;
