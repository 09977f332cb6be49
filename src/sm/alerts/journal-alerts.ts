/** Alerts from the system journal (spec/sm.md 9, spec/decisions.md T-65…T-67). */
import { timestampMessage } from '../../api/index.ts';
import { AosError, asAosError, Backoff, type Clock, type Logger, shortenMessage } from '../../core/index.ts';
import type { Journal, JournalEntry } from '../../platform/journal/index.ts';
import type { OutgoingMessage } from '../client/index.ts';

/** Longest text of an alert that twins take. */
const MAX_TEXT_BYTES = 255;
const INIT_SCOPE = 'init.scope';
/** The cursor is written so often at most, and only when it changed. */
const SAVE_PERIOD_MS = 10_000;

const CORE_COMPONENTS = [
  { unit: 'aos-cm.service', component: 'CM' },
  { unit: 'aos-sm.service', component: 'SM' },
  { unit: 'aos-iam.service', component: 'IAM' },
  { unit: 'aos-mp.service', component: 'MP' },
] as const;

export interface JournalAlertRules {
  /** Entries whose message any of these finds are no alerts. */
  readonly filter: readonly RegExp[];
  readonly serviceAlertPriority: number;
  readonly systemAlertPriority: number;
  /** Whether an entry comes from an instance of this node. */
  readonly isInstance: (entry: JournalEntry) => boolean;
}

export type JournalAlert =
  | { readonly kind: 'core'; readonly component: 'CM' | 'SM' | 'IAM' | 'MP'; readonly message: string }
  | { readonly kind: 'system'; readonly message: string };

/** Throws `invalidArgument` naming an expression that is none. */
export function parseFilters(expressions: readonly string[]): RegExp[] {
  return expressions
    .filter((text) => text !== '')
    .map((text) => {
      try {
        return new RegExp(text);
      } catch (error) {
        throw new AosError('invalidArgument', `journalAlerts.filter: "${text}" is no regular expression`, {
          cause: error,
        });
      }
    });
}

/** What an entry is an alert of, if of anything. Pure. */
export function alertOf(entry: JournalEntry, rules: JournalAlertRules): JournalAlert | undefined {
  const { message, fields } = entry;
  if (rules.isInstance(entry) || rules.filter.some((expression) => expression.test(message))) return undefined;
  const priority = Number(fields.PRIORITY ?? 0);
  let unit = fields._SYSTEMD_UNIT ?? '';
  if (unit === INIT_SCOPE) {
    if (priority > rules.serviceAlertPriority) return undefined;
    unit = fields.UNIT ?? '';
  }
  unit ||= fields._SYSTEMD_CGROUP ?? '';
  const core = CORE_COMPONENTS.find((candidate) => unit.includes(candidate.unit));
  const text = shortenMessage(core ? wordsOf(message) : message, MAX_TEXT_BYTES);
  return core ? { kind: 'core', component: core.component, message: text } : { kind: 'system', message: text };
}

/** Our own daemons write their log as JSON; people want the sentence. */
function wordsOf(message: string): string {
  if (!message.startsWith('{')) return message;
  try {
    const { msg } = JSON.parse(message) as { readonly msg?: unknown };
    return typeof msg === 'string' ? msg : message;
  } catch {
    // It only begins like one of our lines.
    return message;
  }
}

export interface JournalAlertsOptions extends JournalAlertRules {
  readonly journal: Journal;
  /** Where reading goes on after a restart. */
  readonly cursor: { get(): string | undefined; set(cursor: string | undefined): void };
  /** Takes the alert, also while the CM is away. */
  readonly send: (message: OutgoingMessage) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class JournalAlerts {
  readonly #options: JournalAlertsOptions;
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;
  #cursor: string | undefined;
  #saved: string | undefined;
  #toldSaveFailure = false;

  constructor(options: JournalAlertsOptions) {
    this.#options = options;
    this.#saved = options.cursor.get();
    this.#cursor = this.#saved;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#abort.abort(new AosError('canceled', 'the service manager stops'));
    await this.#running;
    this.#save();
  }

  async #run(): Promise<void> {
    const { signal } = this.#abort;
    const { clock, logger } = this.#options;
    const backoff = new Backoff({ firstMs: 1_000, maxMs: 10_000 });
    let toldFailure = '';
    const saver = setInterval(() => this.#save(), SAVE_PERIOD_MS).unref();
    while (!signal.aborted) {
      try {
        await this.#follow(signal, () => {
          backoff.reset();
          toldFailure = '';
        });
      } catch (error) {
        if (signal.aborted) break;
        const { message } = asAosError(error);
        // One that stays as it is would fill the log.
        if (message !== toldFailure) logger.warn({}, `the journal is opened again at its end: ${message}`);
        toldFailure = message;
        this.#cursor = undefined;
        this.#save();
      }
      // Ends early only because the daemon stops, which the loop sees.
      await clock.sleep(backoff.next(), signal).catch(() => undefined);
    }
    clearInterval(saver);
  }

  async #follow(signal: AbortSignal, onEntry: () => void): Promise<void> {
    const { journal, systemAlertPriority, send } = this.#options;
    const priorities = Array.from({ length: systemAlertPriority + 1 }, (_, priority) => `PRIORITY=${priority}`);
    const matches = [priorities, [`_SYSTEMD_UNIT=${INIT_SCOPE}`]];
    const query = { matches, follow: true, fromNow: true, afterCursor: this.#cursor };
    for await (const entry of journal.read(query, signal)) {
      onEntry();
      const alert = alertOf(entry, this.#options);
      if (alert) send(alertMessage(alert, entry.at));
      // Only now: an alert that nobody has taken is read again (T-66).
      this.#cursor = entry.cursor;
    }
  }

  /** A place that cannot be written now, for example on a full disk, is written later: it is not worth the daemon. */
  #save(): void {
    if (this.#cursor === this.#saved) return;
    const { cursor, logger } = this.#options;
    try {
      cursor.set(this.#cursor);
      this.#saved = this.#cursor;
      this.#toldSaveFailure = false;
    } catch (error) {
      if (this.#toldSaveFailure) return;
      this.#toldSaveFailure = true;
      const { message } = asAosError(error);
      logger.warn({}, `after a restart alerts of the journal are told twice, until this can be written: ${message}`);
    }
  }
}

function alertMessage(alert: JournalAlert, at: Date): OutgoingMessage {
  const AlertItem =
    alert.kind === 'core'
      ? ({ case: 'coreAlert', value: { coreComponent: alert.component, message: alert.message } } as const)
      : ({ case: 'systemAlert', value: { message: alert.message } } as const);
  return { case: 'alert', value: { timestamp: timestampMessage(at), AlertItem } };
}
