/** The page's lifecycle: hidden and visible, offline and online, and sleep of the machine. */

import type { Environment } from "./environment.js";

export interface PageLifecycleEvents {
  onOnline(): void;
  /** The browser says so, and may be wrong. */
  onOffline(): void;
  /** The page has been hidden for `longHiddenMs`. */
  onLongHidden(): void;
  onSeen(hiddenMs: number): void;
  /** Every five seconds. `slept`: far more time has passed, so the machine slept. */
  onTick(now: number, slept: boolean): void;
}

const CHECK_EVERY_MS = 5_000;
/** A timer that fires this much too late means that the machine slept. */
const SLEPT_MS = 15_000;

type Timer = ReturnType<typeof setTimeout>;

/** Listens between `start()` and `stop()`; after `stop()` no timer or listener is left. */
export class PageLifecycle {
  readonly #environment: Environment;
  readonly #longHiddenMs: number;
  readonly #events: PageLifecycleEvents;
  #stopSignals: (() => void) | null = null;
  #hiddenAt: number | null = null;
  #hiddenTimer: Timer | undefined;
  #checkTimer: Timer | undefined;

  /** `longHiddenMs` may be infinite. */
  constructor(environment: Environment, longHiddenMs: number, events: PageLifecycleEvents) {
    this.#environment = environment;
    this.#longHiddenMs = longHiddenMs;
    this.#events = events;
  }

  start(): void {
    if (this.#stopSignals !== null) return;
    this.#stopSignals = this.#environment.onSignal((signal) => {
      if (signal === "online") this.#events.onOnline();
      else if (signal === "offline") this.#events.onOffline();
      else if (signal === "hidden") this.#hidden();
      else this.#seen();
    });
    if (this.#environment.isHidden()) this.#hidden();
    this.#check(Date.now());
  }

  stop(): void {
    this.#stopSignals?.();
    this.#stopSignals = null;
    clearTimeout(this.#hiddenTimer);
    clearTimeout(this.#checkTimer);
    this.#hiddenAt = null;
  }

  #hidden(): void {
    this.#hiddenAt = Date.now();
    clearTimeout(this.#hiddenTimer);
    if (!Number.isFinite(this.#longHiddenMs)) return;
    this.#hiddenTimer = setTimeout(() => this.#events.onLongHidden(), this.#longHiddenMs);
  }

  #seen(): void {
    clearTimeout(this.#hiddenTimer);
    const hiddenMs = Date.now() - (this.#hiddenAt ?? Date.now());
    this.#hiddenAt = null;
    this.#events.onSeen(hiddenMs);
  }

  #check(before: number): void {
    this.#checkTimer = setTimeout(() => {
      const now = Date.now();
      this.#check(now);
      this.#events.onTick(now, now - before > CHECK_EVERY_MS + SLEPT_MS);
    }, CHECK_EVERY_MS);
  }
}
