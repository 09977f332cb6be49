/** The messages of each unit's link, as many as the limit says, to be looked at and to recognise repetitions. */
import type { Sql } from './sql.ts';
import type { UnitCounter } from './unit-counter.ts';

export type Direction = 'received' | 'sent';
export type Outcome = 'received' | 'refused' | 'sent' | 'acknowledged' | 'unacknowledged';

export interface NewMessage {
  readonly at: Date;
  readonly direction: Direction;
  readonly messageType?: string | undefined;
  readonly txn?: string | undefined;
  readonly outcome: Outcome;
  /** Why it was refused. */
  readonly detail?: string | undefined;
  readonly data: unknown;
}

export interface LoggedMessage {
  readonly id: number;
  readonly at: string;
  readonly direction: Direction;
  readonly messageType?: string;
  readonly txn?: string;
  readonly outcome: Outcome;
  readonly detail?: string;
  /** Absent when it was too large to be kept. */
  readonly data?: unknown;
}

/** Larger messages (logs, states) are listed without their content. */
const MAX_KEPT_CHARACTERS = 256 * 1024;
/** Of one unit; a unit that sends large ones has fewer to be looked at. */
const MAX_KEPT_BYTES = 32 * 1024 * 1024;

/** Members whose values are for the unit alone: they are not to be found in a log. */
const SECRET_MEMBERS = new Set(['password', 'secret', 'blockKey', 'bearerToken']);

/** Messages whose `state` is what an instance has stored for its user. */
const STATE_MESSAGES: ReadonlySet<unknown> = new Set(['newState', 'updateState']);

/** The text of a message without its secrets, and without data of users. */
function textOf(data: unknown): string {
  return JSON.stringify(data, function (this: { readonly messageType?: unknown }, key, value: unknown) {
    const isOfUser = key === 'state' && STATE_MESSAGES.has(this.messageType);
    return isOfUser || SECRET_MEMBERS.has(key) ? '…' : value;
  });
}

type Row = { readonly [K in keyof LoggedMessage]-?: LoggedMessage[K] | null } & { readonly data: string | null };

export class MessageLog {
  readonly #sql: Sql;
  readonly #limit: number;
  readonly #counter: UnitCounter;

  constructor(sql: Sql, limit: number, counter: UnitCounter) {
    this.#sql = sql;
    this.#limit = limit;
    this.#counter = counter;
  }

  async add(systemId: string, message: NewMessage): Promise<void> {
    const text = textOf(message.data);
    await this.#sql.run(
      `INSERT INTO messages (systemId, at, direction, messageType, txn, outcome, detail, data)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[systemId, message.at.toISOString(), message.direction, message.messageType ?? null, message.txn ?? null],
      ...[message.outcome, message.detail ?? null, text.length > MAX_KEPT_CHARACTERS ? null : text],
    );
    if (this.#counter.isDue(systemId)) await this.#trim(systemId);
  }

  /** What has become of a message to a unit. */
  async setOutcome(systemId: string, txn: string, outcome: Outcome): Promise<void> {
    await this.#sql.run(
      `UPDATE messages SET outcome = ? WHERE systemId = ? AND direction = 'sent' AND txn = ?`,
      ...[outcome, systemId, txn],
    );
  }

  async hasReceived(systemId: string, txn: string): Promise<boolean> {
    const found = await this.#sql.get(
      `SELECT 1 FROM messages WHERE systemId = ? AND direction = 'received' AND txn = ? AND outcome = 'received' LIMIT 1`,
      systemId,
      txn,
    );
    return found !== undefined;
  }

  /** The last messages, of one type if one is given; the oldest of them first. */
  async last(systemId: string, limit: number, messageType?: string): Promise<LoggedMessage[]> {
    const rows = await this.#sql.all<Row>(
      `SELECT id, at, direction, messageType, txn, outcome, detail, data
         FROM messages WHERE systemId = ? AND (messageType = ? OR CAST(? AS TEXT) IS NULL) ORDER BY id DESC LIMIT ?`,
      systemId,
      messageType ?? null,
      messageType ?? null,
      limit,
    );
    return rows.reverse().map((row) => {
      const known = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));
      return { ...known, ...(row.data !== null && { data: JSON.parse(row.data) as unknown }) } as LoggedMessage;
    });
  }

  async #trim(systemId: string): Promise<void> {
    await this.#sql.run(
      `DELETE FROM messages WHERE id IN (
           SELECT id FROM (
             SELECT id, ROW_NUMBER() OVER latest AS age, SUM(COALESCE(OCTET_LENGTH(data), 0)) OVER latest AS total
             FROM messages WHERE systemId = ? WINDOW latest AS (ORDER BY id DESC)
           ) AS aged WHERE age > ? OR total > ?)`,
      systemId,
      this.#limit,
      MAX_KEPT_BYTES,
    );
  }
}
