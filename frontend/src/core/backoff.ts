/**
 * The backoff: how long to wait before a retry. Pure: the caller passes the random number. Numbers from the original
 * client (S2).
 */

export interface BackoffOptions {
  /** Waits before retry 1, 2 …, in ms. The last one is used for all further retries. */
  readonly stepsMs: readonly number[];
  /**
   * The share of the wait that is random, in both directions: a thousand clients must not reconnect at the same moment.
   */
  readonly jitter: number;
  readonly minMs: number;
  /** After this number of retries only a person can start another. */
  readonly maxTries: number;
}

export const BACKOFF: BackoffOptions = {
  stepsMs: [1_000, 2_000, 5_000, 15_000],
  jitter: 0.1,
  minMs: 500,
  maxTries: 10,
};

/**
 * The wait before retry number `attempt` (1, 2 …) in ms, or null when no retries are left.
 * `random` is within 0..1. `adviceMs` is the server's `retry_in_ms`: it replaces the table, not the limit of retries.
 */
export function retryDelayMs(
  attempt: number,
  random: number,
  options: BackoffOptions = BACKOFF,
  adviceMs: number | null = null,
): number | null {
  if (attempt > options.maxTries) return null;
  // No jitter here: the server has already spread its advice over its clients.
  if (adviceMs !== null) return Math.max(options.minMs, adviceMs);
  const base = options.stepsMs[Math.min(attempt, options.stepsMs.length) - 1] ?? options.minMs;
  return Math.max(options.minMs, Math.round(base * (1 + options.jitter * (2 * random - 1))));
}
