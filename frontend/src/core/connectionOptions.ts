/** What a connection can be told: its transports, its patience, and where its token comes from. */

import type { BackoffOptions } from "./backoff.js";
import { BACKOFF } from "./backoff.js";
import { FALLBACK_ORDER } from "./fallback.js";
import type { Transport, TransportEvents } from "./transport.js";
import type { TransportKind } from "./types.js";

export interface ConnectionOptions {
  readonly transports: readonly TransportKind[];
  readonly backoff: BackoffOptions;
  /** A connection that held for so long resets the tries; after 4408 (too slow) it has to hold longer. */
  readonly healthyAfterMs: number;
  readonly healthyAfterSlowMs: number;
  /** Hidden for so long, the page lets go of its connection until it is seen again. */
  readonly pauseHiddenAfterMs: number;
}

export const CONNECTION_DEFAULTS: ConnectionOptions = {
  transports: FALLBACK_ORDER,
  backoff: BACKOFF,
  healthyAfterMs: 10_000,
  healthyAfterSlowMs: 30_000,
  pauseHiddenAfterMs: 5 * 60_000,
};

/** Makes a transport; called again after 4401 with a renewed token. Throws when this environment has none such. */
export type Opener = (kind: TransportKind, token: string | null, events: TransportEvents) => Transport;
export type TokenSource = (renew: boolean) => Promise<string | null> | string | null;
