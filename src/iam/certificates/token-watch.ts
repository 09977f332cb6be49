/**
 * Notices a token that disappears while the program runs. Libraries do not take up a token again that was gone under
 * them, and neither does the TLS engine; a new process does, and waits for the token before it serves
 * (`open-certificates.ts`). So one restart is asked for, and there cannot be a second one before the token was there.
 */
import { asAosError, type Logger } from '../../core/index.ts';

export interface TokenWatchOptions {
  readonly intervalMs: number;
  /** Throws when a token does not hold what it did. */
  readonly check: () => void;
  readonly onLost: (reason: string) => void;
  readonly logger: Logger;
}

export class TokenWatch {
  readonly #options: TokenWatchOptions;
  readonly #timer: NodeJS.Timeout;
  #lost = false;

  constructor(options: TokenWatchOptions) {
    this.#options = options;
    this.#timer = setInterval(() => this.look(), options.intervalMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Looks now: something went wrong with a token. */
  look(): void {
    if (this.#lost) return;
    try {
      this.#options.check();
    } catch (error) {
      this.#lost = true;
      this.stop();
      const { message } = asAosError(error);
      this.#options.logger.error({ error: message }, 'a token has disappeared; starting over, which waits for it');
      this.#options.onLost(message);
    }
  }
}
