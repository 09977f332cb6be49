/** The messages of each unit's link, as many as the limit says, to be looked at and to recognise repetitions. */
import type { DatabaseSync } from 'node:sqlite';
import type { GroupCommit } from './group-commit.ts';
import { UnitCounter } from './unit-counter.ts';

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
/** Old messages are removed this many at a time. */
const SLACK = 100;

/** Members whose values are for the unit alone: they are not to be found in a log. */
const SECRET_MEMBERS = new Set(['password', 'secret', 'blockKey', 'bearerToken']);

/** The text of a message without its secrets. */
function textOf(data: unknown): string {
  return JSON.stringify(data, (key, value: unknown) => (SECRET_MEMBERS.has(key) ? '…' : value));
}

type Row = { readonly [K in keyof LoggedMessage]-?: LoggedMessage[K] | null } & { readonly data: string | null };

export class MessageLog {
  readonly #database: DatabaseSync;
  readonly #limit: number;
  readonly #counter = new UnitCounter(SLACK);
  readonly #group: GroupCommit;
  #lastId: number;

  constructor(database: DatabaseSync, limit: number, group: GroupCommit) {
    this.#database = database;
    this.#limit = limit;
    this.#group = group;
    const row = database.prepare(`SELECT seq FROM sqlite_sequence WHERE name = 'messages'`).get();
    this.#lastId = Number(row?.seq ?? 0);
  }

  /** Adds a message with the next commit of the group, and answers its id now. */
  note(systemId: string, message: NewMessage): number {
    const id = this.#nextId();
    this.#group.note('a message', () => this.#insert(id, systemId, message));
    return id;
  }

  /** Adds a message now. */
  add(systemId: string, message: NewMessage): void {
    this.#insert(this.#nextId(), systemId, message);
  }

  #nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  #insert(id: number, systemId: string, message: NewMessage): void {
    const text = textOf(message.data);
    this.#database
      .prepare(
        `INSERT INTO messages (id, systemId, at, direction, messageType, txn, outcome, detail, data)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[
          id,
          systemId,
          message.at.toISOString(),
          message.direction,
          message.messageType ?? null,
          message.txn ?? null,
        ],
        ...[message.outcome, message.detail ?? null, text.length > MAX_KEPT_CHARACTERS ? null : text],
      );
    if (this.#counter.isDue(systemId)) this.#trim(systemId);
  }

  /** With the next commit of the group. */
  setOutcome(id: number, outcome: Outcome): void {
    this.#group.note('the outcome of a message', () =>
      this.#database.prepare('UPDATE messages SET outcome = ? WHERE id = ?').run(outcome, id),
    );
  }

  hasReceived(systemId: string, txn: string): boolean {
    const found = this.#database
      .prepare(
        `SELECT 1 FROM messages WHERE systemId = ? AND direction = 'received' AND txn = ? AND outcome = 'received' LIMIT 1`,
      )
      .get(systemId, txn);
    return found !== undefined;
  }

  /** The last messages, of one type if one is given; the oldest of them first. */
  last(systemId: string, limit: number, messageType?: string): LoggedMessage[] {
    this.#group.flush();
    const rows = this.#database
      .prepare(
        `SELECT id, at, direction, messageType, txn, outcome, detail, data
         FROM messages WHERE systemId = ? AND (messageType = ? OR ? IS NULL) ORDER BY id DESC LIMIT ?`,
      )
      .all(systemId, messageType ?? null, messageType ?? null, limit) as unknown as Row[];
    return rows.reverse().map((row) => {
      const known = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));
      return { ...known, ...(row.data !== null && { data: JSON.parse(row.data) as unknown }) } as LoggedMessage;
    });
  }

  #trim(systemId: string): void {
    this.#database
      .prepare(
        `DELETE FROM messages WHERE id IN (
           SELECT id FROM (
             SELECT id, ROW_NUMBER() OVER latest AS age, SUM(IFNULL(OCTET_LENGTH(data), 0)) OVER latest AS total
             FROM messages WHERE systemId = ? WINDOW latest AS (ORDER BY id DESC)
           ) WHERE age > ? OR total > ?)`,
      )
      .run(systemId, this.#limit, MAX_KEPT_BYTES);
  }
}
