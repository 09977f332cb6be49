/** Whether there is a session that is open, and who wants to know when that changes. */
import { asAosError, canceledBy, type Logger } from '../../core/index.ts';

type Listener = (connected: boolean) => void;

export class ConnectionFlag {
  readonly #logger: Logger;
  readonly #listeners = new Set<Listener>();
  #isSet = false;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  get isSet(): boolean {
    return this.#isSet;
  }

  /** Tells of each change; returns the function that ends it. */
  onChange(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(isSet: boolean): void {
    if (this.#isSet === isSet) return;
    this.#isSet = isSet;
    for (const listener of [...this.#listeners]) {
      try {
        listener(isSet);
      } catch (error) {
        this.#logger.error({ error: asAosError(error).message }, 'a listener of the cloud link failed');
      }
    }
  }

  /** Resolves when it is set. Throws what the signal was aborted with. */
  async until(signal: AbortSignal): Promise<void> {
    if (signal.aborted) throw canceledBy(signal);
    if (this.#isSet) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const forget = this.onChange((isSet) => {
      if (isSet) resolve();
    });
    const abort = () => reject(canceledBy(signal));
    signal.addEventListener('abort', abort, { once: true });
    try {
      await promise;
    } finally {
      forget();
      signal.removeEventListener('abort', abort);
    }
  }
}
