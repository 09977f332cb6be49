/** Quotas and accepted checksums of instances, in `aos-cm.db` (spec/cm.md 10, `storagestate`). */
import type { DatabaseSync } from 'node:sqlite';
import { type InstanceIdent, instanceKey } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';

/** Part of version 1 of the schema. */
export const STATE_TABLES = `
CREATE TABLE state_instances (
  key TEXT PRIMARY KEY, ident TEXT NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,
  storage_quota INTEGER NOT NULL, state_quota INTEGER NOT NULL, checksum TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`;

export interface StateRow {
  readonly ident: InstanceIdent;
  readonly uid: number;
  readonly gid: number;
  /** Bytes; 0: none. */
  readonly storageQuota: number;
  readonly stateQuota: number;
  /** SHA3-224 of the state that the cloud accepted or gave; empty: none yet. */
  readonly checksum: string;
}

export class StateStore {
  readonly #database: DatabaseSync;
  readonly #rows = new Map<string, StateRow>();

  constructor(database: DatabaseSync) {
    this.#database = database;
    for (const record of database.prepare('SELECT * FROM state_instances').iterate()) {
      this.#rows.set(String(record.key), {
        ident: JSON.parse(String(record.ident)) as InstanceIdent,
        uid: Number(record.uid),
        gid: Number(record.gid),
        storageQuota: Number(record.storage_quota),
        stateQuota: Number(record.state_quota),
        checksum: String(record.checksum),
      });
    }
  }

  all(): readonly StateRow[] {
    return [...this.#rows.values()];
  }

  get(ident: InstanceIdent): StateRow | undefined {
    return this.#rows.get(instanceKey(ident));
  }

  put(row: StateRow): void {
    const key = instanceKey(row.ident);
    const { ident, uid, gid, storageQuota, stateQuota, checksum } = row;
    transaction(
      this.#database,
      () =>
        this.#database
          .prepare('INSERT OR REPLACE INTO state_instances VALUES (?, ?, ?, ?, ?, ?, ?)')
          .run(key, JSON.stringify(ident), uid, gid, storageQuota, stateQuota, checksum),
      'storage-state.save',
    );
    this.#rows.set(key, row);
  }

  remove(ident: InstanceIdent): void {
    const key = instanceKey(ident);
    if (!this.#rows.has(key)) return;
    transaction(
      this.#database,
      () => this.#database.prepare('DELETE FROM state_instances WHERE key = ?').run(key),
      'storage-state.remove',
    );
    this.#rows.delete(key);
  }
}
