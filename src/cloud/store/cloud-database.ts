/** The database of a cloud: its stores, by the transaction. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { AosError, faultPoint, type Logger } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { GroupCommit } from './group-commit.ts';
import { MIGRATIONS } from './migrations.ts';
import type { Sql, SqlDatabase } from './sql.ts';
import { SqliteDatabase } from './sqlite.ts';
import { newCounters, type StoreLimits, type Stores, storesOf } from './stores.ts';

export type Body<T> = (stores: Stores) => Promise<T>;

/** Set within a body: another transaction there would wait for the end of this one for ever. */
const within = new AsyncLocalStorage<true>();

export class CloudDatabase {
  readonly #database: SqlDatabase;
  readonly #group: GroupCommit;
  readonly #limits: StoreLimits;
  readonly #counters = newCounters();

  constructor(database: SqlDatabase, limits: StoreLimits, logger: Logger) {
    this.#database = database;
    this.#limits = limits;
    this.#group = new GroupCommit(database, logger);
  }

  /** What the body sees is of one moment; it writes nothing. */
  async read<T>(body: Body<T>): Promise<T> {
    return this.#database.read(this.#with(body));
  }

  /**
   * All or nothing, durable when it resolves. The body may run more than once: only the stores may be touched in it.
   * Sending and publishing come after.
   */
  async write<T>(body: Body<T>, faultName?: string): Promise<T> {
    const result = await this.#database.write(
      this.#with(async (stores) => {
        const value = await body(stores);
        if (faultName) faultPoint(`${faultName}.before-commit`);
        return value;
      }),
    );
    if (faultName) faultPoint(`${faultName}.committed`);
    return result;
  }

  /** As `write`, a little later, in one commit with what comes from many units at the same time. */
  async writeTogether<T>(body: Body<T>): Promise<T> {
    return this.#group.run(this.#with(body));
  }

  /** The same for what nobody waits for: notes of what has happened. A failure is logged. */
  note(what: string, body: Body<unknown>): void {
    this.#group.note(what, this.#with(body));
  }

  /** Resolves when the notes so far can be read. */
  flush(): Promise<void> {
    return this.#group.flush();
  }

  async stop(): Promise<void> {
    await this.#group.flush();
    await this.#database.stop();
  }

  #with<T>(body: Body<T>): (sql: Sql) => Promise<T> {
    if (within.getStore()) throw new AosError('wrongState', 'there is a transaction within a transaction');
    return (sql) => within.run(true, () => body(storesOf(sql, this.#limits, this.#counters)));
  }
}

export async function openCloudDatabase(path: string, limits: StoreLimits, logger: Logger): Promise<CloudDatabase> {
  return new CloudDatabase(new SqliteDatabase(await openDatabase(path, MIGRATIONS, logger)), limits, logger);
}
