/** The listeners of a store: the base class of every store. */

export class Subscribable {
  readonly #listeners = new Set<() => void>();

  get hasListeners(): boolean {
    return this.#listeners.size > 0;
  }

  /** Call `listener` at each change until the returned function is called. Bound, so it can be passed as a function. */
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

  /** A listener was added. For stores that work only while they have listeners. */
  protected onSubscribe(): void {}

  /** A listener was removed. */
  protected onUnsubscribe(): void {}
}
