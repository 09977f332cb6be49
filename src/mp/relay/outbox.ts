/** Messages on their way into a gRPC stream: bounded, and whoever puts one in waits for room (spec/decisions.md 3.1). */
const MAX_QUEUED = 64;

export class Outbox<T> implements AsyncIterable<T> {
  readonly #values: T[] = [];
  #isClosed = false;
  #onValue: (() => void) | undefined;
  #onRoom: (() => void)[] = [];

  /** Resolves when there is room for the next one; a closed box drops what it is given. */
  async put(value: T): Promise<void> {
    if (this.#isClosed) return;
    this.#values.push(value);
    this.#onValue?.();
    while (this.#values.length >= MAX_QUEUED && !this.#isClosed) {
      await new Promise<void>((resolve) => this.#onRoom.push(resolve));
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#onValue?.();
    for (const wake of this.#onRoom.splice(0)) wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      while (this.#values.length > 0) {
        yield this.#values.shift()!;
        for (const wake of this.#onRoom.splice(0)) wake();
      }
      if (this.#isClosed) return;
      await new Promise<void>((resolve) => {
        this.#onValue = resolve;
      });
    }
  }
}
