/** Logs of units that were asked for (spec/cloud-protocol.md 8.10). */
import type { DatabaseSync } from 'node:sqlite';
import type { PushLog } from '../../protocol/index.ts';

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
  readonly #database: DatabaseSync;
  readonly #limits: LogLimits;

  constructor(database: DatabaseSync, limits: LogLimits) {
    this.#database = database;
    this.#limits = limits;
  }

  add(systemId: string, message: PushLog, now: Date): void {
    const { correlationId = '', node, part, partsCount, status, errorInfo, content } = message;
    this.#database
      .prepare(
        `INSERT OR REPLACE INTO logParts
           (systemId, correlationId, nodeId, part, partsCount, status, error, content, receivedAt)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[systemId, correlationId, node.codename, part, partsCount, status],
        ...[errorInfo?.message ?? null, Buffer.from(content, 'base64'), now.toISOString()],
      );
    this.#database
      .prepare(
        `DELETE FROM logParts WHERE systemId = ? AND correlationId NOT IN (
           SELECT correlationId FROM logParts WHERE systemId = ?
           GROUP BY correlationId ORDER BY MAX(receivedAt) DESC LIMIT ?)`,
      )
      .run(systemId, systemId, KEPT_REQUESTS);
    this.#trim(systemId, now);
  }

  /** Remembers what was asked for; as many requests as logs are kept. */
  addRequest(systemId: string, correlationId: string, request: unknown, now: Date): void {
    this.#database
      .prepare('INSERT OR REPLACE INTO logRequests (systemId, correlationId, at, request) VALUES (?, ?, ?, ?)')
      .run(systemId, correlationId, now.toISOString(), JSON.stringify(request));
    this.#database
      .prepare(
        `DELETE FROM logRequests WHERE systemId = ? AND correlationId NOT IN
           (SELECT correlationId FROM logRequests WHERE systemId = ? ORDER BY at DESC, rowid DESC LIMIT ?)`,
      )
      .run(systemId, systemId, KEPT_REQUESTS);
  }

  /** The newest first. */
  requests(systemId: string): LogRequestRow[] {
    const rows = this.#database
      .prepare(`SELECT correlationId, at, request FROM logRequests WHERE systemId = ? ORDER BY at DESC, rowid DESC`)
      .all(systemId) as unknown as (Omit<LogRequestRow, 'request'> & { request: string })[];
    return rows.map((row) => ({ ...row, request: JSON.parse(row.request) as LogRequestRow['request'] }));
  }

  parts(systemId: string, correlationId: string): LogPart[] {
    return this.#database
      .prepare(
        `SELECT nodeId, part, partsCount, status, error, content, receivedAt FROM logParts
         WHERE systemId = ? AND correlationId = ? ORDER BY nodeId, part`,
      )
      .all(systemId, correlationId) as unknown as LogPart[];
  }

  #trim(systemId: string, now: Date): void {
    const { maxAgeMs, maxBytes } = this.#limits;
    const oldest = new Date(now.getTime() - maxAgeMs).toISOString();
    this.#database.prepare('DELETE FROM logParts WHERE receivedAt < ?').run(oldest);
    this.#database.prepare('DELETE FROM logRequests WHERE at < ?').run(oldest);
    this.#database
      .prepare(
        `DELETE FROM logParts WHERE rowid IN (SELECT row FROM (
           SELECT rowid AS row, SUM(OCTET_LENGTH(content) + ${ROW_BYTES}) OVER (ORDER BY receivedAt DESC, rowid DESC) AS total
           FROM logParts WHERE systemId = ?) WHERE total > ?)`,
      )
      .run(systemId, maxBytes);
  }
}
