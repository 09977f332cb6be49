/** Which items are on the unit and how far they are: rows of the database, with a copy in memory (spec/cm.md 3.1). */
import type { DatabaseSync } from 'node:sqlite';
import type { ErrorInfo, ItemState, ItemType } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';
import type { ItemStatus } from '../model.ts';

export const IMAGE_TABLES = `
  CREATE TABLE image_items (
    item_id TEXT NOT NULL,
    version TEXT NOT NULL,
    type TEXT NOT NULL,
    index_digest TEXT NOT NULL,
    state TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    error TEXT,
    PRIMARY KEY (item_id, version)
  ) STRICT;
`;

export interface ItemRow extends ItemStatus {
  readonly indexDigest: string;
  /** When the state was entered, milliseconds since 1970. */
  readonly changedAtMs: number;
}

export type ItemRowChange = { readonly put: ItemRow } | { readonly drop: ItemRow };

/** Equal exactly for equal item and version; for maps, never shown. */
export function itemKey(item: { readonly itemId: string; readonly version: string }): string {
  return JSON.stringify([item.itemId, item.version]);
}

interface StoredRow {
  readonly item_id: string;
  readonly version: string;
  readonly type: string;
  readonly index_digest: string;
  readonly state: string;
  readonly changed_at: number;
  readonly error: string | null;
}

export class ItemRows {
  readonly #database: DatabaseSync;
  readonly #rows = new Map<string, ItemRow>();

  constructor(database: DatabaseSync) {
    this.#database = database;
    const stored = database.prepare('SELECT * FROM image_items ORDER BY rowid').all() as unknown as StoredRow[];
    for (const row of stored) {
      const item: ItemRow = {
        itemId: row.item_id,
        version: row.version,
        type: row.type as ItemType,
        indexDigest: row.index_digest,
        state: row.state as ItemState,
        changedAtMs: row.changed_at,
        error: row.error === null ? undefined : (JSON.parse(row.error) as ErrorInfo),
      };
      this.#rows.set(itemKey(item), item);
    }
  }

  get(itemId: string, version: string): ItemRow | undefined {
    return this.#rows.get(itemKey({ itemId, version }));
  }

  /** Of two that are installed, the one that became it later comes later. */
  all(): readonly ItemRow[] {
    return [...this.#rows.values()];
  }

  /** All or nothing, durable on return; no change is no write. */
  write(changes: readonly ItemRowChange[], faultName: string): void {
    if (changes.length === 0) return;
    transaction(
      this.#database,
      () => {
        const put = this.#database.prepare('INSERT OR REPLACE INTO image_items VALUES (?, ?, ?, ?, ?, ?, ?)');
        const drop = this.#database.prepare('DELETE FROM image_items WHERE item_id = ? AND version = ?');
        for (const change of changes) {
          if ('drop' in change) drop.run(change.drop.itemId, change.drop.version);
          else {
            const { itemId, version, type, indexDigest, state, changedAtMs, error } = change.put;
            put.run(itemId, version, type, indexDigest, state, changedAtMs, error ? JSON.stringify(error) : null);
          }
        }
      },
      faultName,
    );
    for (const change of changes) {
      if ('drop' in change) this.#rows.delete(itemKey(change.drop));
      else {
        const key = itemKey(change.put);
        // As a restart would read them: what was installed last comes last.
        if (change.put.state === 'installed') this.#rows.delete(key);
        this.#rows.set(key, change.put);
      }
    }
  }
}
