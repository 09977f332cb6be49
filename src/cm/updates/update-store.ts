/** How far the update is, and what the unit shall be (spec/cm.md 2.7): one row, written before it is acted on. */
import type { DatabaseSync } from 'node:sqlite';
import { type AosError, asAosError, type Logger, type UpdateState } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';
import type { Desired } from './desired-model.ts';
import type { RejectedItem } from './roll-back.ts';

export const UPDATE_TABLES = `
  CREATE TABLE update_run (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    state TEXT NOT NULL,
    since INTEGER NOT NULL,
    desired TEXT,
    rejected TEXT NOT NULL
  ) STRICT;
  INSERT INTO update_run VALUES (1, 'none', 0, NULL, '[]');
`;

export interface StoredUpdate {
  readonly state: UpdateState;
  /** When the state was entered, milliseconds since 1970. */
  readonly sinceMs: number;
  readonly desired?: Desired | undefined;
  /** Wanted versions that were rolled back. */
  readonly rejected: readonly RejectedItem[];
}

export class UpdateStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** A row that cannot be read is a unit that was never told anything: the cloud will tell it again. */
  load(logger: Logger): StoredUpdate {
    const row = this.#database.prepare('SELECT * FROM update_run').get() as unknown as {
      state: UpdateState;
      since: number;
      desired: string | null;
      rejected: string;
    };
    try {
      const desired = row.desired === null ? undefined : (JSON.parse(row.desired) as Desired);
      const rejected = JSON.parse(row.rejected) as RejectedItem[];
      return { state: desired ? row.state : 'none', sinceMs: row.since, desired, rejected };
    } catch (error) {
      logger.error({ error: (asAosError(error) as AosError).message }, 'the stored desired status cannot be read');
      return { state: 'none', sinceMs: row.since, rejected: [] };
    }
  }

  /** A desired status with the state in which it begins. */
  accept(desired: Desired, state: UpdateState, sinceMs: number, rejected: readonly RejectedItem[] = []): void {
    transaction(
      this.#database,
      () =>
        this.#database
          .prepare('UPDATE update_run SET state = ?, since = ?, desired = ?, rejected = ?')
          .run(state, sinceMs, JSON.stringify(desired), JSON.stringify(rejected)),
      'cm.update.accept',
    );
  }

  /** Versions that did not work, with the state in which the way back begins. */
  rollBack(rejected: readonly RejectedItem[], state: UpdateState, sinceMs: number): void {
    transaction(
      this.#database,
      () =>
        this.#database
          .prepare('UPDATE update_run SET state = ?, since = ?, rejected = ?')
          .run(state, sinceMs, JSON.stringify(rejected)),
      'cm.update.roll-back',
    );
  }

  enter(state: UpdateState, sinceMs: number): void {
    transaction(
      this.#database,
      () => this.#database.prepare('UPDATE update_run SET state = ?, since = ?').run(state, sinceMs),
      `cm.update.${state}`,
    );
  }
}
