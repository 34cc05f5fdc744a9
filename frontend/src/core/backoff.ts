/** How long to wait before a try. Pure: the caller brings the random number. Numbers from the original client (S2). */

export interface BackoffOptions {
  /** Waits before try 1, 2 …; the last repeats. */
  readonly stepsMs: readonly number[];
  /** Share of the wait by which it varies either way, so that a thousand clients do not return at once. */
  readonly jitter: number;
  readonly minMs: number;
  /** Tries before only a person can start another. */
  readonly maxTries: number;
}

export const BACKOFF: BackoffOptions = {
  stepsMs: [1_000, 2_000, 5_000, 15_000],
  jitter: 0.1,
  minMs: 500,
  maxTries: 10,
};

/**
 * The wait before retry number `attempt` (1, 2 …) in ms, or null when the tries are used up.
 * `random` is within 0..1. `adviceMs` is the server's `retry_in_ms`: it replaces the table, not the limit of tries.
 */
export function retryDelayMs(
  attempt: number,
  random: number,
  options: BackoffOptions = BACKOFF,
  adviceMs: number | null = null,
): number | null {
  if (attempt > options.maxTries) return null;
  // The server has already spread its advice over its clients: taken as it is.
  if (adviceMs !== null) return Math.max(options.minMs, adviceMs);
  const base = options.stepsMs[Math.min(attempt, options.stepsMs.length) - 1] ?? options.minMs;
  return Math.max(options.minMs, Math.round(base * (1 + options.jitter * (2 * random - 1))));
}
