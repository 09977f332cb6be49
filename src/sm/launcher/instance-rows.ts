/**
 * Which instances this node shall have, and which it has begun to run: the launcher's intent, on disk before
 * anything is done (spec/decisions.md T-24, 5.6).
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { instanceKey } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';
import type { InstanceInfo } from '../model.ts';

export const INSTANCE_TABLES = `
CREATE TABLE launcher_instance (
  key TEXT PRIMARY KEY,
  -- How the CM wants it; NULL: it is to be removed.
  wanted TEXT,
  -- How it was last begun to be run; NULL: nothing of it can be running.
  launched TEXT,
  -- Text that names the instance in a row that has neither.
  ident TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE launcher_value (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
`;

export interface InstanceRow {
  readonly info: InstanceInfo;
  /** False: the CM wants it gone, and that is not done yet. */
  readonly isWanted: boolean;
  /** How a container that may be running was started. */
  readonly launched?: InstanceInfo | undefined;
}

/** Every method is one durable transaction. */
export class InstanceRows {
  readonly #database: DatabaseSync;
  readonly #statements: Readonly<Record<'want' | 'unwant' | 'launching' | 'stopped' | 'forget', StatementSync>>;

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#statements = {
      want: database.prepare(
        'INSERT INTO launcher_instance (key, wanted, ident) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET wanted = ?2',
      ),
      unwant: database.prepare('UPDATE launcher_instance SET wanted = NULL WHERE key = ?'),
      launching: database.prepare('UPDATE launcher_instance SET launched = ?2 WHERE key = ?1'),
      stopped: database.prepare('UPDATE launcher_instance SET launched = NULL WHERE key = ?'),
      forget: database.prepare('DELETE FROM launcher_instance WHERE key = ? AND wanted IS NULL'),
    };
  }

  all(): InstanceRow[] {
    const rows = this.#database.prepare('SELECT wanted, launched, ident FROM launcher_instance ORDER BY key').all();
    return rows.map((row) => {
      const { wanted, launched, ident } = row as { wanted: string | null; launched: string | null; ident: string };
      return {
        info: JSON.parse(wanted ?? launched ?? ident) as InstanceInfo,
        isWanted: wanted !== null,
        launched: launched === null ? undefined : (JSON.parse(launched) as InstanceInfo),
      };
    });
  }

  /** What a request of the CM changes, before any of it is done. */
  intend(wanted: readonly InstanceInfo[], unwantedKeys: readonly string[]): void {
    if (wanted.length === 0 && unwantedKeys.length === 0) return;
    this.#write('sm.launcher.intend', () => {
      for (const info of wanted) {
        const text = JSON.stringify(info);
        this.#statements.want.run(instanceKey(info.ident), text, text);
      }
      for (const key of unwantedKeys) this.#statements.unwant.run(key);
    });
  }

  /** These are about to be started like this. */
  launching(infos: readonly InstanceInfo[]): void {
    if (infos.length === 0) return;
    this.#write('sm.launcher.launching', () => {
      for (const info of infos) this.#statements.launching.run(instanceKey(info.ident), JSON.stringify(info));
    });
  }

  /** Nothing of these runs any more; those that the CM does not want are forgotten. */
  gone(keys: readonly string[]): void {
    if (keys.length === 0) return;
    this.#write('sm.launcher.gone', () => {
      for (const key of keys) {
        this.#statements.stopped.run(key);
        this.#statements.forget.run(key);
      }
    });
  }

  /** A value of this name that outlives the SM. */
  value<T extends string | number>(name: string): { get(): T | undefined; set(value: T | undefined): void } {
    return {
      get: () => {
        const row = this.#database.prepare('SELECT value FROM launcher_value WHERE name = ?').get(name);
        return (row as { value: T } | undefined)?.value;
      },
      set: (value) =>
        this.#write('sm.launcher.value', () => {
          this.#database.prepare('DELETE FROM launcher_value WHERE name = ?').run(name);
          if (value === undefined) return;
          this.#database.prepare('INSERT INTO launcher_value (name, value) VALUES (?, ?)').run(name, value);
        }),
    };
  }

  #write(faultName: string, work: () => void): void {
    transaction(this.#database, work, faultName);
  }
}
