/** Who may work on what, when several installs run at the same time. */
import { Slots } from '../slots.ts';

type Release = () => void;

/** One at a time for each key. */
export class KeyedLock {
  readonly #locks = new Map<string, { slots: Slots; users: number }>();

  async run<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const lock = this.#locks.get(key) ?? { slots: new Slots(1), users: 0 };
    this.#locks.set(key, lock);
    lock.users += 1;
    try {
      return await lock.slots.use(work, signal);
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
