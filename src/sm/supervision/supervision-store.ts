/** What is remembered of unasked exits, for `aosctl why` and crash logs (spec/decisions.md 5.3, 8.3). */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { asAosError, type Logger } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';

export const SUPERVISION_TABLES = `
CREATE TABLE supervision_exit (
  number INTEGER PRIMARY KEY,
  instance_id TEXT NOT NULL,
  -- Wall clock, milliseconds since 1970.
  at INTEGER NOT NULL,
  uptime_ms INTEGER NOT NULL,
  status INTEGER NOT NULL,
  cause TEXT NOT NULL,
  outcome TEXT NOT NULL
) STRICT;
CREATE INDEX supervision_exit_of_instance ON supervision_exit (instance_id, number);
`;

/** Exits that are kept per instance. */
export const MAX_EXITS = 16;

export interface ExitRecord {
  readonly at: Date;
  readonly uptimeMs: number;
  /** Exit status; 128 + signal. -1: it did not come to run. */
  readonly status: number;
  /** `exit code 3`. */
  readonly cause: string;
  readonly outcome: 'restart' | 'gave up' | 'not restarted';
}

export interface SupervisionStore {
  /** Adds an exit; the oldest beyond 16 of the instance goes. */
  record(instanceId: string, exit: ExitRecord): void;
  /** Newest first. */
  history(instanceId: string): ExitRecord[];
  /** The instance is gone for good. */
  forget(instanceId: string): void;
}

/**
 * In the database of the SM, which has the tables above. An exit that cannot be noted, for example on a full disk, is told
 * and left out: the supervision of the instance is worth more.
 */
export class SqliteSupervisionStore implements SupervisionStore {
  readonly #database: DatabaseSync;
  readonly #logger: Logger;
  #hasTold = false;
  readonly #statements: Readonly<Record<'insert' | 'trim' | 'select' | 'forget', StatementSync>>;

  constructor(database: DatabaseSync, logger: Logger) {
    this.#database = database;
    this.#logger = logger;
    this.#statements = {
      insert: database.prepare(
        'INSERT INTO supervision_exit (instance_id, at, uptime_ms, status, cause, outcome) VALUES (?, ?, ?, ?, ?, ?)',
      ),
      trim: database.prepare(
        `DELETE FROM supervision_exit WHERE instance_id = ?1 AND number NOT IN
         (SELECT number FROM supervision_exit WHERE instance_id = ?1 ORDER BY number DESC LIMIT ${MAX_EXITS})`,
      ),
      select: database.prepare('SELECT * FROM supervision_exit WHERE instance_id = ? ORDER BY number DESC'),
      forget: database.prepare('DELETE FROM supervision_exit WHERE instance_id = ?'),
    };
  }

  record(instanceId: string, { at, uptimeMs, status, cause, outcome }: ExitRecord): void {
    this.#write('sm.supervision.exit', () => {
      this.#statements.insert.run(instanceId, at.getTime(), Math.round(uptimeMs), status, cause, outcome);
      this.#statements.trim.run(instanceId);
    });
  }

  history(instanceId: string): ExitRecord[] {
    const rows = this.#statements.select.all(instanceId) as unknown as readonly {
      at: number;
      uptime_ms: number;
      status: number;
      cause: string;
      outcome: ExitRecord['outcome'];
    }[];
    return rows.map(({ at, uptime_ms, status, cause, outcome }) => {
      return { at: new Date(at), uptimeMs: uptime_ms, status, cause, outcome };
    });
  }

  forget(instanceId: string): void {
    this.#write('sm.supervision.forget', () => this.#statements.forget.run(instanceId));
  }

  #write(faultName: string, work: () => unknown): void {
    try {
      transaction(this.#database, work, faultName);
      this.#hasTold = false;
    } catch (error) {
      // One that crashes each second would fill the log.
      if (!this.#hasTold) this.#logger.warn({}, `exits of instances are not noted: ${asAosError(error).message}`);
      this.#hasTold = true;
    }
  }
}

/** Remembers in memory alone. */
export class MemorySupervisionStore implements SupervisionStore {
  readonly #exits = new Map<string, ExitRecord[]>();

  record(instanceId: string, exit: ExitRecord): void {
    this.#exits.set(instanceId, [exit, ...this.history(instanceId)].slice(0, MAX_EXITS));
  }

  history(instanceId: string): ExitRecord[] {
    return this.#exits.get(instanceId) ?? [];
  }

  forget(instanceId: string): void {
    this.#exits.delete(instanceId);
  }
}
