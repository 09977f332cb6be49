/** Bytes that were counted, kept over restarts (spec/sm.md 7.8). */
import type { DatabaseSync } from 'node:sqlite';
import { asAosError, type Logger } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';
import type { TrafficRow } from './traffic-count.ts';

export const TRAFFIC_TABLES = `
CREATE TABLE network_traffic (chain TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

/**
 * What may be counted and not yet be written, where it need not be exact: a service manager that restarts loses nothing, since
 * the counters of the kernel go on, and a power cut loses less than this.
 */
const UNWRITTEN_BYTES = 1024 * 1024;

export class TrafficRows {
  readonly #database: DatabaseSync;
  readonly #rows = new Map<string, TrafficRow>();
  /** As they are on the disk. */
  readonly #written = new Map<string, TrafficRow>();
  readonly #logger: Logger;
  #hasTold = false;

  constructor(database: DatabaseSync, logger: Logger) {
    this.#database = database;
    this.#logger = logger;
    for (const { value } of database.prepare('SELECT value FROM network_traffic').all() as { value: string }[]) {
      const row = JSON.parse(value) as TrafficRow;
      this.#rows.set(row.chain, row);
      this.#written.set(row.chain, row);
    }
  }

  get(chain: string): TrafficRow | undefined {
    return this.#rows.get(chain);
  }

  /**
   * Later rows of a chain win. Nothing is written for those that say nothing new but the time, and for those that need not
   * be exact not until there is enough of it. What cannot be written, as on a full disk, is told and tried again with the
   * next rows: firewall and limits follow what is in memory.
   */
  put(rows: readonly TrafficRow[], isExact: (chain: string) => boolean): void {
    const latest = new Map(rows.map((row) => [row.chain, row]));
    const news = [...latest.values()].filter((row) =>
      isNews(row, this.#written.get(row.chain), isExact(row.chain) ? 1 : UNWRITTEN_BYTES),
    );
    for (const row of latest.values()) this.#rows.set(row.chain, row);
    if (news.length === 0) return;
    try {
      this.#write(news);
      this.#hasTold = false;
    } catch (error) {
      if (!this.#hasTold) this.#logger.warn({}, `counted traffic is not written: ${asAosError(error).message}`);
      this.#hasTold = true;
    }
  }

  #write(rows: readonly TrafficRow[]): void {
    const put = this.#database.prepare('INSERT OR REPLACE INTO network_traffic (chain, value) VALUES (?, ?)');
    transaction(
      this.#database,
      () => {
        for (const row of rows) put.run(row.chain, JSON.stringify(row));
      },
      'sm.network.traffic',
    );
    for (const row of rows) this.#written.set(row.chain, row);
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
    for (const chain of known) {
      this.#rows.delete(chain);
      this.#written.delete(chain);
    }
  }
}

/** The date alone is no news: it would be written each minute. */
function isNews(row: TrafficRow, written: TrafficRow | undefined, stepBytes: number): boolean {
  if (written === undefined || row.isBlocked !== written.isBlocked) return true;
  const grown = row.counter - written.counter;
  // Another counter, or another period: what is written says nothing of it.
  if (grown < 0 || row.bytes - written.bytes !== grown) return true;
  return grown >= stepBytes;
}
