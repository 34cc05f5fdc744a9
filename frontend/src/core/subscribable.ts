/** Listeners of a store: the part that every store has in common. */

export class Subscribable {
  readonly #listeners = new Set<() => void>();

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  /** Call `listener` at each change until the returned function is called. Bound, so that it can be handed on. */
  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    this.onSubscribe();
    return () => {
      if (this.#listeners.delete(listener)) this.onUnsubscribe();
    };
  };

  notify(): void {
    for (const listener of this.#listeners) listener();
  }

  /** A listener has come. For stores that only work while they are watched. */
  protected onSubscribe(): void {}

  /** A listener has gone. */
  protected onUnsubscribe(): void {}
}
