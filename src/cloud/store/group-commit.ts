/**
 * What many units send at the same time becomes durable together: one commit, and one wait for the disk, for all that
 * has come meanwhile. Nobody is answered before the commit.
 */
import { asAosError, faultPoint, type Logger } from '../../core/index.ts';
import type { Sql, SqlDatabase } from './sql.ts';

type Write<T> = (sql: Sql) => Promise<T>;

interface Work {
  readonly write: Write<unknown>;
  readonly settle: (outcome: Outcome) => void;
}

type Outcome = { readonly value: unknown } | { readonly error: unknown };

export class GroupCommit {
  readonly #database: SqlDatabase;
  readonly #logger: Logger;
  #pending: Work[] = [];
  /** One commit after the other: what comes while one is under way goes with the next. */
  #commits: Promise<void> = Promise.resolve();

  constructor(database: SqlDatabase, logger: Logger) {
    this.#database = database;
    this.#logger = logger;
  }

  /**
   * Resolves when what `write` has written is durable. It runs a little later, with others; when it throws, nothing of
   * it stays, and nothing of the others is lost. Rejects with its error, or with that of the commit.
   */
  run<T>(write: Write<T>): Promise<T> {
    return new Promise((resolve, reject) =>
      this.#add({
        write,
        settle: (outcome) => ('error' in outcome ? reject(outcome.error) : resolve(outcome.value as T)),
      }),
    );
  }

  /** The same for what nobody waits for: notes of what has happened. */
  note(what: string, write: Write<unknown>): void {
    this.run(write).catch((error) =>
      this.#logger.warn({ what, error: asAosError(error).message }, 'a note was not kept'),
    );
  }

  /** Resolves when all that waits now was written, or refused; never rejects. */
  flush(): Promise<void> {
    this.#commits = this.#commits.then(() => this.#commit());
    return this.#commits;
  }

  #add(work: Work): void {
    this.#pending.push(work);
    // All that arrives in this round of the event loop goes together.
    if (this.#pending.length === 1) setImmediate(() => void this.flush());
  }

  async #commit(): Promise<void> {
    const works = this.#pending;
    this.#pending = [];
    const most = this.#database.bestTogether ?? works.length;
    for (let done = 0; done < works.length; done += most) await this.#commitAll(works.slice(done, done + most));
  }

  /** Tells whoever waits of every failure, and so never rejects. */
  async #commitAll(works: readonly Work[]): Promise<void> {
    let outcomes: readonly Outcome[];
    try {
      outcomes = await this.#database.write((sql) => writeAll(sql, works));
      faultPoint('cloud.message.committed');
    } catch (error) {
      outcomes = works.map(() => ({ error }));
    }
    for (const [index, { settle }] of works.entries()) settle(outcomes[index]!);
  }
}

async function writeAll(sql: Sql, works: readonly Work[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  // One that is alone needs no protection from others.
  if (works.length === 1) outcomes.push({ value: await works[0]!.write(sql) });
  else for (const { write } of works) outcomes.push(await writeOne(sql, write));
  faultPoint('cloud.message.before-commit');
  return outcomes;
}

async function writeOne(sql: Sql, write: Write<unknown>): Promise<Outcome> {
  await sql.run('SAVEPOINT one');
  try {
    const value = await write(sql);
    await sql.run('RELEASE SAVEPOINT one');
    return { value };
  } catch (error) {
    await undo(sql, error);
    return { error };
  }
}

/** Throws what has happened when that has ended the transaction as a whole: a full disk does. */
async function undo(sql: Sql, because: unknown): Promise<void> {
  try {
    await sql.run('ROLLBACK TO SAVEPOINT one');
    await sql.run('RELEASE SAVEPOINT one');
  } catch {
    throw because;
  }
}
