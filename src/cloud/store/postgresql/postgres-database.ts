/** A cloud's database in PostgreSQL: several processes may share it (docs/decisions/0020-postgresql.md). */
import { setTimeout as delay } from 'node:timers/promises';
import type { Client, ClientConfig, Pool, PoolClient } from 'pg';
import { AosError, asAosError, type Logger } from '../../../core/index.ts';
import type { Sql, SqlDatabase } from '../sql.ts';
import { describeDatabase, explain, type FailureKind, isWorthAnotherTry, kindOf } from './failures.ts';
import { migrate } from './schema.ts';
import { Statements, Transaction } from './transaction.ts';
import { parserOf } from './values.ts';

export interface PostgresOptions {
  /** `postgresql://user@host/database`; without a password it is looked for in `PGPASSWORD` and `~/.pgpass`. */
  readonly url: string;
  readonly logger: Logger;
  /** How long a server that is gone is waited for, per transaction. */
  readonly patienceMs?: number;
  /** Connections for transactions; more of them than the server has processors make nothing faster. */
  readonly connections?: number;
}

const PATIENCE_MS = 5000;
const CONNECTIONS = 8;
const CONNECT_TIMEOUT_MS = 5000;
/** A process that hangs in the middle of a transaction holds up the others for so long. */
const STANDSTILL_MS = 30_000;
const STATEMENT_TIMEOUT_MS = 60_000;
const FIRST_BACK_OFF_MS = 4;
const MAX_BACK_OFF_MS = 200;

const SERIALIZABLE = 'BEGIN ISOLATION LEVEL SERIALIZABLE';
/** A snapshot is never refused for what others do. */
const SNAPSHOT = 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY';

export class PostgresDatabase implements SqlDatabase {
  /**
   * A transaction that looks at more places than PostgreSQL notes one by one (`max_pred_locks_per_transaction`, 64) counts
   * as having looked at all, and gets into the way of those of other processes.
   */
  readonly bestTogether = 32;
  /** Where it is, for a person. */
  readonly name: string;
  readonly #options: PostgresOptions;
  readonly #driver: typeof import('pg');
  readonly #pool: Pool;
  readonly #statements = new Statements();

  private constructor(options: PostgresOptions, driver: typeof import('pg')) {
    this.name = describeDatabase(options.url);
    this.#options = options;
    this.#driver = driver;
    this.#pool = new driver.Pool({
      ...this.#settings(),
      max: options.connections ?? CONNECTIONS,
      idle_in_transaction_session_timeout: STANDSTILL_MS,
      statement_timeout: STATEMENT_TIMEOUT_MS,
      // Should the server be cut off, and so not say it itself.
      query_timeout: STATEMENT_TIMEOUT_MS + CONNECT_TIMEOUT_MS,
    });
    // The pool drops a connection that breaks; a listener must be there, or the process ends.
    this.#pool.on('error', (error) => this.#broken(error));
    this.#pool.on('connect', (client) => client.on('error', (error) => this.#broken(error)));
  }

  /** Connects, and makes or renews the tables. Throws with words for a person when that cannot be. */
  static async open(options: PostgresOptions): Promise<PostgresDatabase> {
    // Loaded by those alone who need it.
    const { default: driver } = await import('pg');
    const database = new PostgresDatabase(options, driver as unknown as typeof import('pg'));
    try {
      await database.#patiently(() => database.#withClient((client) => migrate(client, database.name)));
      return database;
    } catch (error) {
      await database.stop();
      throw explain(error, database.name);
    }
  }

  read<T>(body: (sql: Sql) => Promise<T>): Promise<T> {
    return this.#transaction(SNAPSHOT, body);
  }

  write<T>(body: (sql: Sql) => Promise<T>): Promise<T> {
    return this.#transaction(SERIALIZABLE, body);
  }

  /** A connection of its own, which the caller ends. A statement fails that is not answered in time, if one is given. */
  async connect(answerMs?: number): Promise<Client> {
    const client = new this.#driver.Client({ ...this.#settings(), query_timeout: answerMs });
    try {
      await client.connect();
      return client;
    } catch (error) {
      throw explain(error, this.name);
    }
  }

  async stop(): Promise<void> {
    await this.#pool.end();
  }

  #settings(): ClientConfig {
    return {
      connectionString: this.#options.url,
      fallback_application_name: 'aos-cloud',
      keepAlive: true,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      types: { getTypeParser: parserOf },
    };
  }

  async #transaction<T>(begin: string, body: (sql: Sql) => Promise<T>): Promise<T> {
    try {
      return await this.#patiently((attempt) =>
        this.#withClient(async (client, giveUp) => {
          const transaction = new Transaction(client, this.#statements, attempt);
          await client.query(begin);
          const result = await this.#run(client, transaction, body, giveUp);
          await this.#commit(client);
          return result;
        }),
      );
    } catch (error) {
      throw explain(error, this.name);
    }
  }

  /** Tries again what others were faster with, and what did not reach the server. */
  async #patiently<T>(work: (attempt: number) => Promise<T>): Promise<T> {
    const endMs = performance.now() + (this.#options.patienceMs ?? PATIENCE_MS);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await work(attempt);
      } catch (error) {
        const kind = kindOf(error);
        const isWorthIt = kind === 'unreachable' ? performance.now() < endMs : isWorthAnotherTry(kind, attempt);
        if (kind === 'conflict' && !isWorthIt) {
          const message = `others changed the same in the database ${this.name}, ${attempt} times in a row`;
          throw new AosError('failed', message, { cause: error });
        }
        if (!isWorthIt) throw error;
        await delay(Math.random() * backOffMs(kind, attempt));
      }
    }
  }

  /** A connection that `work` gives up is not used again. */
  async #withClient<T>(work: (client: PoolClient, giveUp: () => void) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    let broken = false;
    const giveUp = () => {
      broken = true;
    };
    try {
      return await work(client, giveUp);
    } catch (error) {
      if (kindOf(error) === 'unreachable' || error instanceof UnknownOutcome) giveUp();
      throw error;
    } finally {
      client.release(broken);
    }
  }

  /** Runs the body; when it fails, nothing of it stays. */
  async #run<T>(
    client: PoolClient,
    transaction: Transaction,
    body: (sql: Sql) => Promise<T>,
    giveUp: () => void,
  ): Promise<T> {
    try {
      const result = await body(transaction);
      await transaction.end();
      return result;
    } catch (error) {
      const failure = transaction.failureOf(error);
      // What is still under way must not slip out of the transaction; how it ends does not matter any more.
      await transaction.end().catch(() => undefined);
      if (kindOf(failure) !== 'unreachable') await this.#rollBack(client, giveUp);
      throw failure;
    }
  }

  /** A server that cannot be told rolls back by itself when it loses the connection; what has failed first is told. */
  async #rollBack(client: PoolClient, giveUp: () => void): Promise<void> {
    try {
      await client.query('ROLLBACK');
    } catch (error) {
      giveUp();
      this.#broken(error);
    }
  }

  async #commit(client: PoolClient): Promise<void> {
    let command: string;
    try {
      ({ command } = await client.query('COMMIT'));
    } catch (error) {
      // To do it again might be to do it twice. Whoever waits for an acknowledgement asks again, and is recognised.
      if (kindOf(error) === 'unreachable') throw new UnknownOutcome(this.name, error);
      throw error;
    }
    // PostgreSQL ends a transaction that has failed like this, without an error.
    if (command !== 'COMMIT') {
      throw new AosError('failed', `the database ${this.name} undid a transaction one of whose statements had failed`);
    }
  }

  #broken(error: unknown): void {
    this.#options.logger.warn({ error: asAosError(error).message }, 'a connection to the database broke off');
  }
}

class UnknownOutcome extends AosError {
  constructor(name: string, cause: unknown) {
    super('failed', `the database ${name} was lost in the middle of a commit; whether it took it is not known`, {
      cause,
    });
  }
}

/** Whoever waits for a server gains nothing by haste. */
const backOffMs = (kind: FailureKind, attempt: number) =>
  kind === 'unreachable' ? MAX_BACK_OFF_MS : Math.min(MAX_BACK_OFF_MS, FIRST_BACK_OFF_MS * 2 ** attempt);
