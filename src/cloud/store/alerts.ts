/** Alerts of units, and of the cloud about them (spec/cloud-protocol.md 8.8); bounded in number. */
import type { DatabaseSync } from 'node:sqlite';
import { type Alert, timeOf } from '../../protocol/index.ts';
import { UnitCounter } from './unit-counter.ts';

/** Something that the cloud itself has noticed about a unit. */
export interface CloudAlert {
  readonly tag: 'cloudAlert';
  readonly message: string;
}

export interface StoredAlert {
  readonly id: number;
  /** Milliseconds since 1970, by the clock of the unit. */
  readonly at: number;
  readonly tag: string;
  /** The alert as it came. */
  readonly data: Readonly<Record<string, unknown>>;
}

export interface AlertQuery {
  readonly limit: number;
  readonly fromMs?: number | undefined;
  readonly tillMs?: number | undefined;
  readonly tag?: string | undefined;
}

/** Progress of downloads is an alert on the wire, and nothing that anybody must look at later. */
const NOT_KEPT = 'downloadProgressAlert';
const SLACK = 50;

export class AlertStore {
  readonly #database: DatabaseSync;
  readonly #limit: number;
  readonly #counter = new UnitCounter(SLACK);

  /** At most `limit` alerts of one unit are kept. */
  constructor(database: DatabaseSync, limit: number) {
    this.#database = database;
    this.#limit = limit;
  }

  add(systemId: string, alerts: readonly Alert[]): void {
    for (const { timestamp, tag, ...data } of alerts) {
      if (tag !== NOT_KEPT) this.#insert(systemId, timeOf(timestamp).getTime(), tag, data);
    }
  }

  addOwn(systemId: string, { tag, message }: CloudAlert, now: Date): void {
    this.#insert(systemId, now.getTime(), tag, { message });
  }

  /** The newest first. */
  list(systemId: string, { limit, fromMs, tillMs, tag }: AlertQuery): StoredAlert[] {
    const rows = this.#database
      .prepare(
        `SELECT id, at, tag, data FROM alerts
         WHERE systemId = ? AND at >= ? AND at <= ? AND (tag = ? OR ? IS NULL) ORDER BY at DESC, id DESC LIMIT ?`,
      )
      .all(systemId, fromMs ?? 0, tillMs ?? Number.MAX_SAFE_INTEGER, tag ?? null, tag ?? null, limit);
    return (rows as unknown as (Omit<StoredAlert, 'data'> & { data: string })[]).map(({ data, ...row }) => ({
      ...row,
      data: JSON.parse(data) as StoredAlert['data'],
    }));
  }

  countSince(systemId: string, fromMs: number): number {
    const row = this.#database
      .prepare('SELECT COUNT(*) AS count FROM alerts WHERE systemId = ? AND at >= ?')
      .get(systemId, fromMs) as { count: number };
    return row.count;
  }

  #insert(systemId: string, at: number, tag: string, data: object): void {
    this.#database
      .prepare('INSERT INTO alerts (systemId, at, tag, data) VALUES (?, ?, ?, ?)')
      .run(systemId, at, tag, JSON.stringify(data));
    if (!this.#counter.isDue(systemId)) return;
    this.#database
      .prepare(
        `DELETE FROM alerts WHERE id IN (SELECT id FROM (
           SELECT id, ROW_NUMBER() OVER (ORDER BY id DESC) AS age FROM alerts WHERE systemId = ?) WHERE age > ?)`,
      )
      .run(systemId, this.#limit);
  }
}
