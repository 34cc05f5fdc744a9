import { useCallback, useSyncExternalStore } from "react";
import { Subscribable } from "../core/subscribable.js";

/** A shared clock: one timer for all components with the same interval, for any number of rows. */
class Ticker extends Subscribable {
  now = 0;
  readonly #everyMs: number;
  #timer: ReturnType<typeof setInterval> | null = null;

  constructor(everyMs: number) {
    super();
    this.#everyMs = everyMs;
  }

  protected override onSubscribe(): void {
    if (this.#timer !== null) return;
    this.now = Date.now();
    this.#timer = setInterval(() => this.#tick(), this.#everyMs);
  }

  protected override onUnsubscribe(): void {
    if (this.hasListeners || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #tick(): void {
    this.now = Date.now();
    this.notify();
  }
}

const tickers = new Map<number, Ticker>();

function tickerFor(everyMs: number): Ticker {
  const known = tickers.get(everyMs);
  if (known !== undefined) return known;
  const ticker = new Ticker(everyMs);
  tickers.set(everyMs, ticker);
  return ticker;
}

/**
 * The time in Unix ms, updated while `active`. 0 on a server and before the first tick: hydration needs the same on
 * both sides.
 */
export function useNow(active: boolean, everyMs = 1_000): number {
  const ticker = tickerFor(everyMs);
  return useSyncExternalStore(
    useCallback((moved: () => void) => (active ? ticker.subscribe(moved) : () => {}), [active, ticker]),
    () => ticker.now,
    () => 0,
  );
}
