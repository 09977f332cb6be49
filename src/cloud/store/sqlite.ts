/** SQLite behind the interface of a cloud's database. */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { AosError } from '../../core/index.ts';
import { rolledBack } from '../../storage/index.ts';
import type { Sql, SqlDatabase, SqlValue } from './sql.ts';

/** Texts of statements are few; one that is made anew each time must not pile up. */
const MAX_STATEMENTS = 500;

/**
 * One connection, and one transaction after the other. SQLite answers at once, so a transaction never waits for anything
 * but its turn.
 */
export class SqliteDatabase implements SqlDatabase {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  #turn: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  read<T>(body: (sql: Sql) => Promise<T>): Promise<T> {
    return this.#inTurn(() => this.#transaction('BEGIN', body, false));
  }

  write<T>(body: (sql: Sql) => Promise<T>): Promise<T> {
    return this.#inTurn(() => this.#transaction('BEGIN IMMEDIATE', body, true));
  }

  /** Waits for the transactions that were asked for; later ones are refused. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    await this.#turn;
    this.#statements.clear();
    this.#database.close();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#stopped) return Promise.reject(new AosError('wrongState', 'the database is closed'));
    const result = this.#turn.then(work);
    // Whoever has asked hears of the failure; the next one begins either way.
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #transaction<T>(begin: string, body: (sql: Sql) => Promise<T>, writes: boolean): Promise<T> {
    const sql = new SqliteTransaction((text) => this.#statement(text), writes);
    try {
      this.#database.exec(begin);
      const result = await body(sql);
      sql.end();
      this.#database.exec('COMMIT');
      return result;
    } catch (error) {
      sql.end();
      throw rolledBack(this.#database, error);
    }
  }

  #statement(text: string): StatementSync {
    const known = this.#statements.get(text);
    if (known) return known;
    const statement = this.#database.prepare(text);
    if (this.#statements.size >= MAX_STATEMENTS) this.#statements.clear();
    this.#statements.set(text, statement);
    return statement;
  }
}

class SqliteTransaction implements Sql {
  readonly dialect = 'sqlite';
  readonly #prepare: (text: string) => StatementSync;
  readonly #writes: boolean;
  #ended = false;

  constructor(prepare: (text: string) => StatementSync, writes: boolean) {
    this.#prepare = prepare;
    this.#writes = writes;
  }

  async all<Row>(sql: string, ...values: SqlValue[]): Promise<Row[]> {
    return this.#statement(sql).all(...values) as Row[];
  }

  async get<Row>(sql: string, ...values: SqlValue[]): Promise<Row | undefined> {
    return this.#statement(sql).get(...values) as Row | undefined;
  }

  async run(sql: string, ...values: SqlValue[]): Promise<number> {
    if (!this.#writes) throw new AosError('wrongState', 'this transaction only reads');
    return Number(this.#statement(sql).run(...values).changes);
  }

  /** What comes too late must not get into the transaction of somebody else. */
  end(): void {
    this.#ended = true;
  }

  #statement(sql: string): StatementSync {
    if (this.#ended) throw new AosError('wrongState', 'the transaction is over');
    return this.#prepare(sql);
  }
}
