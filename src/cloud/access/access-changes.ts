/** News that somebody may see more or less than before, here or at another process: what goes on for long looks again. */

export class AccessChanges {
  readonly #listeners = new Set<() => void>();
  readonly #tellOthers: () => void;

  constructor(tellOthers: () => void) {
    this.#tellOthers = tellOthers;
  }

  /** Something was changed here: a person, a token, the fleet of a unit. */
  publish(): void {
    this.receive();
    this.#tellOthers();
  }

  /** Something was changed elsewhere, or may have been. */
  receive(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Answers the function that ends it. A listener must not throw. */
  follow(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
