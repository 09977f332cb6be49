/** Who may work on what, when several installs run at the same time. */
import { canceledBy, throwIfCanceled } from '../../core/index.ts';

type Release = () => void;

/** At most so many at a time; the others wait in order. A waiter leaves the queue when its signal aborts. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#take(signal);
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }

  #take(signal: AbortSignal): Promise<void> {
    throwIfCanceled(signal);
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const go = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(go), 1);
        reject(canceledBy(signal));
      };
      this.#waiting.push(go);
      signal.addEventListener('abort', leave, { once: true });
    });
  }
}

/** One at a time for each key. */
export class KeyedLock {
  readonly #locks = new Map<string, { slots: Slots; users: number }>();

  async run<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const lock = this.#locks.get(key) ?? { slots: new Slots(1), users: 0 };
    this.#locks.set(key, lock);
    lock.users += 1;
    try {
      return await lock.slots.run(signal, work);
    } finally {
      lock.users -= 1;
      if (lock.users === 0) this.#locks.delete(key);
    }
  }
}

/** What is in use by somebody, counted. */
export class Pins {
  readonly #counts = new Map<string, number>();

  /** Call the answer once when it is not needed any more. */
  add(key: string): Release {
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    return () => {
      const left = (this.#counts.get(key) ?? 1) - 1;
      if (left > 0) this.#counts.set(key, left);
      else this.#counts.delete(key);
    };
  }

  has(key: string): boolean {
    return this.#counts.has(key);
  }
}
