/** A bounded queue between producers that must not wait and one consumer that iterates. */
import { AosError } from './error.ts';

/**
 * `push` never waits; when the box is full it throws `noMemory`, so nothing grows without bound.
 * Iteration ends after `close`, or throws what `fail` was given, once the queued values are taken.
 */
export class Mailbox<T> implements AsyncIterable<T> {
  readonly #capacity: number;
  #values: T[] = [];
  #end: { readonly error?: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#values.length;
  }

  get closed(): boolean {
    return this.#end !== undefined;
  }

  /** Puts a value in; a closed box drops it. */
  push(value: T): void {
    if (this.#end) return;
    if (this.#values.length >= this.#capacity) {
      throw new AosError('noMemory', `queue is full: ${this.#capacity} messages wait`);
    }
    this.#values.push(value);
    this.#wakeUp();
  }

  /** Takes out what nobody has taken yet. */
  takeAll(): T[] {
    return this.#values.splice(0);
  }

  close(): void {
    this.#end ??= {};
    this.#wakeUp();
  }

  fail(error: unknown): void {
    this.#end ??= { error };
    this.#wakeUp();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      while (this.#values.length > 0) yield this.#values.shift()!;
      if (this.#end) {
        if ('error' in this.#end) throw this.#end.error;
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = undefined;
  }
}
