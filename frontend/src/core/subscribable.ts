/** Listeners: the base classes of the stores. */

/**
 * A set of listeners. `T` is the value that each call passes to them; a store passes none, its listeners read its
 * state.
 */
export class Subscribable<T = void> {
  readonly #listeners = new Set<(value: T) => void>();

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  /** Call `listener` at each change until the returned function is called. Bound, so it can be passed as a function. */
  readonly subscribe = (listener: (value: T) => void): (() => void) => {
    this.#listeners.add(listener);
    this.onSubscribe();
    return () => {
      if (this.#listeners.delete(listener)) this.onUnsubscribe();
    };
  };

  /** Call every listener. One that is added or removed by another during the call is not called. */
  notify(value: T): void {
    for (const listener of [...this.#listeners]) if (this.#listeners.has(listener)) listener(value);
  }

  /** A listener was added. */
  protected onSubscribe(): void {}

  /** A listener was removed. */
  protected onUnsubscribe(): void {}
}

const LINGER_MS = 1_000;

/**
 * A store that works only while it has listeners, and one second longer: React may unmount and mount again at once
 * (StrictMode, a change of page), and that must not reconnect.
 */
export abstract class WatchedStore extends Subscribable {
  #isWatched = false;
  #lingerTimer: ReturnType<typeof setTimeout> | undefined;

  protected get isWatched(): boolean {
    return this.#isWatched;
  }

  protected abstract onWatched(): void;
  protected abstract onUnwatched(): void;

  protected override onSubscribe(): void {
    clearTimeout(this.#lingerTimer);
    this.#lingerTimer = undefined;
    if (this.#isWatched) return;
    this.#isWatched = true;
    this.onWatched();
  }

  protected override onUnsubscribe(): void {
    if (this.hasListeners) return;
    this.#lingerTimer ??= setTimeout(() => {
      this.#lingerTimer = undefined;
      this.#isWatched = false;
      this.onUnwatched();
    }, LINGER_MS);
  }
}
