/** Messages on their way into a gRPC stream: bounded, and whoever puts one in waits for room (spec/decisions.md 3.1). */
const MAX_QUEUED = 64;
const MAX_QUEUED_BYTES = 1024 * 1024;

export class Outbox<T> implements AsyncIterable<T> {
  readonly #entries: { readonly value: T; readonly sizeBytes: number }[] = [];
  #sizeBytes = 0;
  #isClosed = false;
  #onValue: (() => void) | undefined;
  #onRoom: (() => void)[] = [];

  /** Resolves when there is room for the next one; a closed box drops what it is given. */
  async put(value: T, sizeBytes: number): Promise<void> {
    if (this.#isClosed) return;
    this.#entries.push({ value, sizeBytes });
    this.#sizeBytes += sizeBytes;
    this.#onValue?.();
    while (this.#isFull && !this.#isClosed) await new Promise<void>((resolve) => this.#onRoom.push(resolve));
  }

  close(): void {
    this.#isClosed = true;
    this.#onValue?.();
    for (const wake of this.#onRoom.splice(0)) wake();
  }

  get #isFull(): boolean {
    return this.#entries.length >= MAX_QUEUED || this.#sizeBytes >= MAX_QUEUED_BYTES;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      for (let entry = this.#entries.shift(); entry; entry = this.#entries.shift()) {
        this.#sizeBytes -= entry.sizeBytes;
        yield entry.value;
        for (const wake of this.#onRoom.splice(0)) wake();
      }
      if (this.#isClosed) return;
      await new Promise<void>((resolve) => {
        this.#onValue = resolve;
      });
    }
  }
}
