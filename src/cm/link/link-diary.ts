/** What the link is doing and why, for people: its report, the event log, the log of the daemon. */
import type { AosError, Clock, Logger } from '../../core/index.ts';
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
    const { lastError } = this.#report;
    this.#report = {
      state,
      ...(url === undefined ? {} : { url }),
      since: this.#now(),
      ...(lastError === undefined || state === 'connected' ? {} : { lastError }),
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
    this.#report = { ...this.#report, lastError: error.message };
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
