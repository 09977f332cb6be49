/** Work that must not be done by too many at the same time. */
import { setTimeout as sleep } from 'node:timers/promises';
import { canceledBy, throwIfCanceled } from '../core/index.ts';

export class Slots {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(count: number) {
    this.#free = count;
  }

  /** Waits for a slot, works, gives it back. Throws `canceled` while waiting. */
  async use<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#take(signal);
    try {
      return await work();
    } finally {
      this.#giveBack();
    }
  }

  /** As `use`; work that takes longer than this goes on without its slot, as it may hang. */
  async useAtMost<T>(holdMs: number, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#take(signal);
    const done = new AbortController();
    // What throws at once is work that has ended, too.
    const working = (async () => work())().finally(() => done.abort());
    // Either way the slot is free.
    void sleep(holdMs, undefined, { signal: done.signal, ref: false })
      .catch(() => undefined)
      .then(() => this.#giveBack());
    return await working;
  }

  #giveBack(): void {
    const next = this.#waiting.shift();
    if (next) next();
    else this.#free += 1;
  }

  async #take(signal: AbortSignal): Promise<void> {
    throwIfCanceled(signal);
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const onAbort = () => {
        const index = this.#waiting.indexOf(take);
        if (index < 0) return;
        this.#waiting.splice(index, 1);
        reject(canceledBy(signal));
      };
      const take = () => {
        signal.removeEventListener('abort', onAbort);
        resolve();
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#waiting.push(take);
    });
  }
}
