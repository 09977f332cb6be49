/**
 * What many units send at the same time becomes durable together: one commit, and one wait for the disk, for all that
 * has come meanwhile. Nobody is answered before the commit.
 */
import type { DatabaseSync } from 'node:sqlite';
import { asAosError, type Logger } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';

interface Work {
  readonly write: () => void;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

export class GroupCommit {
  readonly #database: DatabaseSync;
  readonly #logger: Logger;
  #pending: Work[] = [];

  constructor(database: DatabaseSync, logger: Logger) {
    this.#database = database;
    this.#logger = logger;
  }

  /**
   * Resolves when what `write` has written is durable. It runs a little later, with others; when it throws, nothing of
   * it stays, and nothing of the others is lost. Rejects with its error, or with that of the commit.
   */
  run(write: () => void): Promise<void> {
    return new Promise((resolve, reject) => this.#add({ write, resolve, reject }));
  }

  /** The same for what nobody waits for: notes of what has happened. */
  note(what: string, write: () => void): void {
    const reject = (error: unknown) =>
      this.#logger.warn({ what, error: asAosError(error).message }, 'a note was not kept');
    this.#add({ write, resolve: () => undefined, reject });
  }

  /** Writes what is waiting now, so that it can be read. */
  flush(): void {
    // Within a transaction of somebody else it waits for its turn.
    if (this.#pending.length === 0 || this.#database.isTransaction) return;
    const works = this.#pending;
    this.#pending = [];
    const failures = new Map<Work, unknown>();
    try {
      transaction(this.#database, () => this.#write(works, failures), 'cloud.message');
    } catch (error) {
      for (const { reject } of works) reject(error);
      return;
    }
    for (const work of works) {
      if (failures.has(work)) work.reject(failures.get(work));
      else work.resolve();
    }
  }

  #add(work: Work): void {
    this.#pending.push(work);
    // All that arrives in this round of the event loop goes together.
    if (this.#pending.length === 1) setImmediate(() => this.flush());
  }

  #write(works: readonly Work[], failures: Map<Work, unknown>): void {
    for (const work of works) {
      this.#database.exec('SAVEPOINT one');
      try {
        work.write();
        this.#database.exec('RELEASE one');
      } catch (error) {
        // A full disk ends the transaction as a whole.
        if (!this.#database.isTransaction) throw error;
        this.#database.exec('ROLLBACK TO one; RELEASE one');
        failures.set(work, error);
      }
    }
  }
}
