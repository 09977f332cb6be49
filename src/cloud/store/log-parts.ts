/** Logs of units that were asked for (spec/cloud-protocol.md 8.10). */
import type { PushLog } from '../../protocol/index.ts';
import type { Sql } from './sql.ts';

export interface LogPart {
  readonly nodeId: string;
  readonly part: number;
  readonly partsCount: number;
  readonly status: string;
  readonly error: string | null;
  /** gzip, empty when there is none. */
  readonly content: Uint8Array;
  readonly receivedAt: string;
}

export interface LogRequestRow {
  readonly correlationId: string;
  readonly at: string;
  readonly request: Readonly<Record<string, unknown>>;
}

/** How much is kept; what came first goes first. */
export interface LogLimits {
  readonly maxAgeMs: number;
  /** Of one unit, as it was sent: compressed. */
  readonly maxBytes: number;
}

/** Requests of a unit whose logs are kept; the oldest goes first. */
const KEPT_REQUESTS = 32;
/** A part without content takes room, too. */
const ROW_BYTES = 256;

export class LogStore {
  readonly #sql: Sql;
  readonly #limits: LogLimits;

  constructor(sql: Sql, limits: LogLimits) {
    this.#sql = sql;
    this.#limits = limits;
  }

  async add(systemId: string, message: PushLog, now: Date): Promise<void> {
    const { correlationId = '', node, part, partsCount, status, errorInfo, content } = message;
    await this.#sql.run(
      `INSERT INTO logParts (systemId, correlationId, nodeId, part, partsCount, status, error, content, receivedAt)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (systemId, correlationId, nodeId, part) DO UPDATE SET
           partsCount = excluded.partsCount, status = excluded.status, error = excluded.error,
           content = excluded.content, receivedAt = excluded.receivedAt`,
      ...[systemId, correlationId, node.codename, part, partsCount, status],
      ...[errorInfo?.message ?? null, Buffer.from(content, 'base64'), now.toISOString()],
    );
    await this.#sql.run(
      `DELETE FROM logParts WHERE systemId = ? AND correlationId NOT IN (
           SELECT correlationId FROM logParts WHERE systemId = ?
           GROUP BY correlationId ORDER BY MAX(receivedAt) DESC LIMIT ?)`,
      systemId,
      systemId,
      KEPT_REQUESTS,
    );
    await this.#trim(systemId, now);
  }

  /** Remembers what was asked for; as many requests as logs are kept. */
  async addRequest(systemId: string, correlationId: string, request: unknown, now: Date): Promise<void> {
    await this.#sql.run(
      `INSERT INTO logRequests (systemId, correlationId, at, request) VALUES (?, ?, ?, ?)
         ON CONFLICT (systemId, correlationId) DO UPDATE SET at = excluded.at, request = excluded.request`,
      ...[systemId, correlationId, now.toISOString(), JSON.stringify(request)],
    );
    await this.#sql.run(
      `DELETE FROM logRequests WHERE systemId = ? AND correlationId NOT IN
           (SELECT correlationId FROM logRequests WHERE systemId = ? ORDER BY at DESC, rowid DESC LIMIT ?)`,
      systemId,
      systemId,
      KEPT_REQUESTS,
    );
  }

  /** The newest first. */
  async requests(systemId: string): Promise<LogRequestRow[]> {
    const rows = await this.#sql.all<Omit<LogRequestRow, 'request'> & { request: string }>(
      `SELECT correlationId, at, request FROM logRequests WHERE systemId = ? ORDER BY at DESC, rowid DESC`,
      systemId,
    );
    return rows.map((row) => ({ ...row, request: JSON.parse(row.request) as LogRequestRow['request'] }));
  }

  parts(systemId: string, correlationId: string): Promise<LogPart[]> {
    return this.#sql.all<LogPart>(
      `SELECT nodeId, part, partsCount, status, error, content, receivedAt FROM logParts
         WHERE systemId = ? AND correlationId = ? ORDER BY nodeId, part`,
      systemId,
      correlationId,
    );
  }

  async #trim(systemId: string, now: Date): Promise<void> {
    const { maxAgeMs, maxBytes } = this.#limits;
    const oldest = new Date(now.getTime() - maxAgeMs).toISOString();
    await this.#sql.run('DELETE FROM logParts WHERE receivedAt < ?', oldest);
    await this.#sql.run('DELETE FROM logRequests WHERE at < ?', oldest);
    await this.#sql.run(
      `DELETE FROM logParts WHERE rowid IN (SELECT number FROM (
           SELECT rowid AS number,
                  SUM(OCTET_LENGTH(content) + ${ROW_BYTES}) OVER (ORDER BY receivedAt DESC, rowid DESC) AS total
           FROM logParts WHERE systemId = ?) AS summed WHERE total > ?)`,
      systemId,
      maxBytes,
    );
  }
}
