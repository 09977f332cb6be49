/** Tells listeners of events, one after the other; a listener that fails does not keep the others from hearing. */
import { asAosError, type Logger } from '../../core/index.ts';
import type { Subscribe } from '../model.ts';

export class Event<T> {
  readonly #what: string;
  readonly #logger: Logger;
  readonly #listeners = new Set<(value: T) => void>();

  constructor(what: string, logger: Logger) {
    this.#what = what;
    this.#logger = logger;
  }

  readonly subscribe: Subscribe<T> = (listener) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  emit(value: T): void {
    for (const listener of this.#listeners) {
      try {
        listener(value);
      } catch (error) {
        this.#logger.error({ error: asAosError(error).message }, `a listener to ${this.#what} failed`);
      }
    }
  }
}
