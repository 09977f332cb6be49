/** Bytes that were counted, kept over restarts (spec/sm.md 7.8). */
import type { DatabaseSync } from 'node:sqlite';
import { isDeepStrictEqual } from 'node:util';
import { transaction } from '../../storage/index.ts';
import type { TrafficRow } from './traffic-count.ts';

export const TRAFFIC_TABLES = `
CREATE TABLE network_traffic (chain TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

export class TrafficRows {
  readonly #database: DatabaseSync;
  readonly #rows = new Map<string, TrafficRow>();

  constructor(database: DatabaseSync) {
    this.#database = database;
    for (const { value } of database.prepare('SELECT value FROM network_traffic').all() as { value: string }[]) {
      const row = JSON.parse(value) as TrafficRow;
      this.#rows.set(row.chain, row);
    }
  }

  get(chain: string): TrafficRow | undefined {
    return this.#rows.get(chain);
  }

  /** Later rows of a chain win. Nothing is written for those that say nothing new but the time. */
  put(rows: readonly TrafficRow[]): void {
    const latest = new Map(rows.map((row) => [row.chain, row]));
    const news = [...latest.values()].filter((row) => !isSame(row, this.#rows.get(row.chain)));
    for (const row of latest.values()) this.#rows.set(row.chain, row);
    if (news.length === 0) return;
    const put = this.#database.prepare('INSERT OR REPLACE INTO network_traffic (chain, value) VALUES (?, ?)');
    transaction(
      this.#database,
      () => {
        for (const row of news) put.run(row.chain, JSON.stringify(row));
      },
      'sm.network.traffic',
    );
  }

  forget(chains: readonly string[]): void {
    const known = chains.filter((chain) => this.#rows.has(chain));
    if (known.length === 0) return;
    const remove = this.#database.prepare('DELETE FROM network_traffic WHERE chain = ?');
    transaction(
      this.#database,
      () => {
        for (const chain of known) remove.run(chain);
      },
      'sm.network.forget-traffic',
    );
    for (const chain of known) this.#rows.delete(chain);
  }
}

/** The date alone is no news: it would be written each minute. */
function isSame(row: TrafficRow, before: TrafficRow | undefined): boolean {
  if (before === undefined) return false;
  const withoutTime = ({ countedAt: _, ...rest }: TrafficRow) => rest;
  return isDeepStrictEqual(withoutTime(row), withoutTime(before));
}
