/** Alerts of units, and of the cloud about them (spec/cloud-protocol.md 8.8); bounded in number. */
import { type Alert, timeOf } from '../../protocol/index.ts';
import type { Sql } from './sql.ts';
import type { UnitCounter } from './unit-counter.ts';

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

export class AlertStore {
  readonly #sql: Sql;
  readonly #limit: number;
  readonly #counter: UnitCounter;

  /** At most `limit` alerts of one unit are kept. */
  constructor(sql: Sql, limit: number, counter: UnitCounter) {
    this.#sql = sql;
    this.#limit = limit;
    this.#counter = counter;
  }

  async add(systemId: string, alerts: readonly Alert[]): Promise<void> {
    for (const { timestamp, tag, ...data } of alerts) {
      if (tag !== NOT_KEPT) await this.#insert(systemId, timeOf(timestamp).getTime(), tag, data);
    }
  }

  async addOwn(systemId: string, { tag, message }: CloudAlert, now: Date): Promise<void> {
    await this.#insert(systemId, now.getTime(), tag, { message });
  }

  /** The newest first. */
  async list(systemId: string, { limit, fromMs, tillMs, tag }: AlertQuery): Promise<StoredAlert[]> {
    const rows = await this.#sql.all<Omit<StoredAlert, 'data'> & { data: string }>(
      `SELECT id, at, tag, data FROM alerts
         WHERE systemId = ? AND at >= ? AND at <= ? AND (tag = ? OR CAST(? AS TEXT) IS NULL) ORDER BY at DESC, id DESC LIMIT ?`,
      ...[systemId, fromMs ?? 0, tillMs ?? Number.MAX_SAFE_INTEGER, tag ?? null, tag ?? null, limit],
    );
    return rows.map(({ data, ...row }) => ({ ...row, data: JSON.parse(data) as StoredAlert['data'] }));
  }

  async countSince(systemId: string, fromMs: number): Promise<number> {
    const row = await this.#sql.get<{ count: number }>(
      'SELECT COUNT(*) AS count FROM alerts WHERE systemId = ? AND at >= ?',
      systemId,
      fromMs,
    );
    return row?.count ?? 0;
  }

  async #insert(systemId: string, at: number, tag: string, data: object): Promise<void> {
    await this.#sql.run(
      'INSERT INTO alerts (systemId, at, tag, data) VALUES (?, ?, ?, ?)',
      ...[systemId, at, tag, JSON.stringify(data)],
    );
    if (!this.#counter.isDue(systemId)) return;
    await this.#sql.run(
      `DELETE FROM alerts WHERE id IN (SELECT id FROM (
           SELECT id, ROW_NUMBER() OVER (ORDER BY id DESC) AS age FROM alerts WHERE systemId = ?) AS aged WHERE age > ?)`,
      systemId,
      this.#limit,
    );
  }
}
