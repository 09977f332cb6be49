/** Subscriptions of clients: the newest value per key, never a queue (spec/iam.md 12.5). */

import { AosError } from '../../core/index.ts';
import { MAX_FOLLOWERS } from '../limits.ts';

interface Subscriber<T> {
  readonly pending: Map<string, T>;
  wake: (() => void) | undefined;
}

/**
 * A slow subscriber misses values in between, never the last one of a key. One that comes later gets the last value of
 * all at once, if there ever was one.
 */
export class Latest<T> {
  readonly #subscribers = new Set<Subscriber<T>>();
  #last: { readonly key: string; readonly value: T } | undefined;

  publish(value: T, key = ''): void {
    this.#last = { key, value };
    for (const subscriber of this.#subscribers) {
      // To the end of the line, so that the order of the newest values is that of their publication.
      subscriber.pending.delete(key);
      subscriber.pending.set(key, value);
      subscriber.wake?.();
    }
  }

  /**
   * Values until the signal aborts; then it ends without an error. Subscribed from this call on.
   * Throws `noMemory` when too many follow already.
   */
  subscribe(signal: AbortSignal): AsyncIterableIterator<T> {
    if (this.#subscribers.size >= MAX_FOLLOWERS) {
      throw new AosError('noMemory', `${MAX_FOLLOWERS} clients follow this already`);
    }
    const subscriber: Subscriber<T> = { pending: new Map(), wake: undefined };
    if (this.#last) subscriber.pending.set(this.#last.key, this.#last.value);
    this.#subscribers.add(subscriber);
    const onAbort = () => subscriber.wake?.();
    signal.addEventListener('abort', onAbort, { once: true });
    const leave = () => {
      this.#subscribers.delete(subscriber);
      signal.removeEventListener('abort', onAbort);
    };
    return iterate(subscriber, signal, leave);
  }

  get subscriberCount(): number {
    return this.#subscribers.size;
  }
}

async function* iterate<T>(
  subscriber: Subscriber<T>,
  signal: AbortSignal,
  leave: () => void,
): AsyncIterableIterator<T> {
  try {
    while (!signal.aborted) {
      for (const [key, value] of subscriber.pending) {
        subscriber.pending.delete(key);
        yield value;
        if (signal.aborted) return;
      }
      await new Promise<void>((resolve) => {
        subscriber.wake = resolve;
        if (subscriber.pending.size > 0 || signal.aborted) resolve();
      });
      subscriber.wake = undefined;
    }
  } finally {
    leave();
  }
}
