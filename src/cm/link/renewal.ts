/** A new `online` certificate: the session is made anew without losing anything (spec/product.md CM-14). */
import type { Logger } from '../../core/index.ts';
import type { LinkNumbers } from './model.ts';

/** What is to be renewed. */
export interface Renewable {
  close(): void;
}

export interface RenewalOptions {
  readonly numbers: Pick<LinkNumbers, 'renewAfterMs' | 'renewAtLatestMs'>;
  readonly session: () => Renewable | undefined;
  /** Whether nothing is under way that would have to be sent again. */
  readonly isQuiet: () => boolean;
  /** Ends the wait between attempts: the new certificate may be what was missing. */
  readonly hurry: () => void;
  readonly logger: Logger;
}

export class Renewal {
  readonly #options: RenewalOptions;
  #timer: NodeJS.Timeout | undefined;
  #old: Renewable | undefined;

  constructor(options: RenewalOptions) {
    this.#options = options;
  }

  /** The certificate changed. A little later, when it has settled, the session ends once it is quiet. */
  request(): void {
    const { numbers, session, hurry, logger } = this.#options;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const old = session();
      if (!old) {
        hurry();
        return;
      }
      logger.info({}, 'the online certificate changed; the link is renewed');
      this.#old = old;
      this.#timer = setTimeout(() => old.close(), numbers.renewAtLatestMs);
      this.check();
    }, numbers.renewAfterMs);
  }

  /** To be called whenever the link may have become quiet. */
  check(): void {
    if (this.#old && this.#options.session() === this.#old && this.#options.isQuiet()) this.#old.close();
  }

  /** A session is over: whether it was this that ended it. */
  ended(session: Renewable): boolean {
    if (this.#old !== session) return false;
    this.#old = undefined;
    clearTimeout(this.#timer);
    return true;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }
}
