/**
 * Decisions with their reasons, for `aosctl why` and `aosctl events`: what the unit did to an item, an instance or a
 * node, and because of what. Bounded, and written in batches: an event is news, not state that anything depends on.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Clock, Logger } from '../../core/index.ts';
import { asAosError } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';
import { EVENTS } from '../numbers.ts';

export const EVENT_TABLES = `
  CREATE TABLE event_log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    what TEXT NOT NULL,
    because TEXT NOT NULL
  ) STRICT;
  CREATE INDEX event_log_about ON event_log (kind, id);
`;

export interface EventSubject {
  readonly kind: 'item' | 'instance' | 'node' | 'update' | 'link' | 'unit-config';
  /** Of an item `<id> <version>`, of an instance `item/subject/index`, of a node its id; else a fixed word. */
  readonly id: string;
}

export interface NewEvent {
  readonly about: EventSubject;
  /** What was decided, in the past tense: "started on node main". */
  readonly what: string;
  /** Why, for the person who must act. */
  readonly because: string;
}

export interface DecisionEvent extends NewEvent {
  readonly seq: number;
  /** ISO 8601; as the wall clock was believed then. */
  readonly at: string;
}

export interface EventFilter {
  readonly kind?: EventSubject['kind'] | undefined;
  /** The whole id, or the beginning of one up to a `/` or a space. */
  readonly id?: string | undefined;
  /** Only events after this one. */
  readonly after?: number | undefined;
  /** The newest so many; default 200. */
  readonly limit?: number | undefined;
}

/** What modules see of the log. */
export interface EventSink {
  record(event: NewEvent): void;
}

export interface EventLogOptions {
  readonly database: DatabaseSync;
  readonly clock: Clock;
  readonly logger: Logger;
  /** How many are kept. */
  readonly kept?: number;
}

const FLUSH_AFTER_MS = 250;
const FLUSH_AT = 256;
const DEFAULT_LIMIT = 200;

interface Row {
  readonly seq: number;
  readonly at: number;
  readonly kind: string;
  readonly id: string;
  readonly what: string;
  readonly because: string;
}

export class EventLog implements EventSink {
  readonly #options: Required<EventLogOptions>;
  /** Those who wait for news. */
  readonly #followers = new Set<() => void>();
  #waiting: (NewEvent & { readonly at: number })[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(options: EventLogOptions) {
    this.#options = { kept: EVENTS.kept, ...options };
  }

  record(event: NewEvent): void {
    const { clock, logger } = this.#options;
    logger.info({ [event.about.kind]: event.about.id, because: event.because }, event.what);
    this.#waiting.push({ ...event, at: clock.now().getTime() });
    for (const wake of this.#followers) wake();
    if (this.#waiting.length >= FLUSH_AT) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), FLUSH_AFTER_MS).unref();
  }

  /** The newest events that fit, oldest first. */
  list(filter: EventFilter = {}): DecisionEvent[] {
    this.flush();
    const { kind = null, id = null, after = 0, limit = DEFAULT_LIMIT } = filter;
    const rows = this.#options.database
      .prepare(
        `SELECT * FROM event_log WHERE seq > ?1 AND (?2 IS NULL OR kind = ?2)
           AND (?3 IS NULL OR id = ?3 OR substr(id, 1, length(?3) + 1) IN (?3 || '/', ?3 || ' '))
         ORDER BY seq DESC LIMIT ?4`,
      )
      .all(after, kind, id, limit) as unknown as Row[];
    return rows.reverse().map((row) => ({
      seq: row.seq,
      at: new Date(row.at).toISOString(),
      about: { kind: row.kind as EventSubject['kind'], id: row.id },
      what: row.what,
      because: row.because,
    }));
  }

  /** The newest events that fit, and those to come until the signal aborts. */
  async *follow(filter: EventFilter, signal: AbortSignal): AsyncGenerator<DecisionEvent> {
    let { after = 0 } = filter;
    let isNew = false;
    let wake = () => {
      isNew = true;
    };
    const tell = () => wake();
    this.#followers.add(tell);
    signal.addEventListener('abort', tell, { once: true });
    try {
      while (!signal.aborted) {
        isNew = false;
        for (const event of this.list({ ...filter, after })) {
          after = event.seq;
          yield event;
        }
        if (isNew || signal.aborted) continue;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        wake = () => {
          isNew = true;
        };
      }
    } finally {
      this.#followers.delete(tell);
      signal.removeEventListener('abort', tell);
    }
  }

  /** Writes what waits. A disk that takes nothing costs the events, not the daemon. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const events = this.#waiting;
    if (events.length === 0) return;
    this.#waiting = [];
    const { database, kept, logger } = this.#options;
    try {
      transaction(database, () => {
        const insert = database.prepare('INSERT INTO event_log (at, kind, id, what, because) VALUES (?, ?, ?, ?, ?)');
        for (const { at, about, what, because } of events) insert.run(at, about.kind, about.id, what, because);
        database.prepare('DELETE FROM event_log WHERE seq <= (SELECT max(seq) FROM event_log) - ?').run(kept);
      });
    } catch (error) {
      logger.error({ events: events.length, error: asAosError(error).message }, 'events could not be stored');
    }
  }

  stop(): void {
    this.flush();
  }
}
