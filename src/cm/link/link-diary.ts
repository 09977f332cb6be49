/** What the link is doing and why, for people: its report, the event log, the log of the daemon. */
import { AosError, type Clock, type Logger } from '../../core/index.ts';
import type { EventLog } from '../events/index.ts';
import type { LinkReport, LinkState } from './model.ts';
import type { Dropped } from './outbox.ts';

export interface LinkDiaryOptions {
  readonly events?: Pick<EventLog, 'record'> | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
}

export class LinkDiary {
  readonly #options: LinkDiaryOptions;
  #report: LinkReport;
  #lastRefusal = '';

  constructor(options: LinkDiaryOptions) {
    this.#options = options;
    this.#report = { state: 'stopped', since: this.#now() };
  }

  get report(): LinkReport {
    return this.#report;
  }

  enter(state: LinkState, url?: string): void {
    const { logger } = this.#options;
    const { lastError, lastErrorCode } = this.#report;
    this.#report = {
      state,
      ...(url === undefined ? {} : { url }),
      since: this.#now(),
      ...(lastError === undefined || lastErrorCode === undefined || state === 'connected'
        ? {}
        : { lastError, lastErrorCode }),
    };
    logger.debug({ state, url }, 'cloud link');
    if (state !== 'connected') return;
    logger.info({ url }, 'connected to the cloud');
    this.#lastRefusal = '';
    this.record('connected', `discovery named ${url}`);
  }

  failed(error: AosError, what: string): void {
    // The same failure again and again is one event.
    if (this.#report.lastError !== error.message) this.record(what, error.message);
    this.#report = { ...this.#report, lastError: error.message, lastErrorCode: kindOf(error) };
    this.#options.logger.warn({ error: error.message, code: error.code }, what);
  }

  /** A cloud that says the same wrong thing for hours is one event of a session. */
  refused(what: string, because: string): void {
    const refusal = `${what}: ${because}`;
    if (refusal === this.#lastRefusal) return;
    this.#lastRefusal = refusal;
    this.record(what, because);
  }

  record(what: string, because: string): void {
    this.#options.events?.record({ about: { kind: 'link', id: 'cloud' }, what, because });
  }

  dropped(dropped: readonly Dropped[]): void {
    for (const { message, because } of dropped) {
      const { messageType, txn } = message;
      this.#options.logger.warn({ messageType, txn, because }, 'a message is given up');
    }
  }

  #now(): string {
    return this.#options.clock.now().toISOString();
  }
}

/** The code of what is at the bottom of an error: there the system and OpenSSL say what happened. */
function kindOf(error: AosError): string {
  let kind: string = error.code;
  for (let cause: unknown = error.cause; cause instanceof Error; cause = cause.cause) {
    const code: unknown = cause instanceof AosError ? undefined : (cause as NodeJS.ErrnoException).code;
    if (typeof code === 'string') kind = code;
  }
  return kind;
}
