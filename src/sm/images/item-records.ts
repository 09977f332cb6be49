/** Which items are on this node, and which blobs and layers they need (spec/sm.md 3.6). */
import type { DatabaseSync } from 'node:sqlite';
import type { Digest, ItemIdent, ItemType } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';

/** Tables of the image store. What an item needs is kept beside it: a damaged manifest must not make orphans of layers. */
export const IMAGE_TABLES = `
CREATE TABLE image_items (
  item_id TEXT NOT NULL,
  version TEXT NOT NULL,
  type TEXT NOT NULL,
  manifest_digest TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('installed', 'removed')),
  changed_at_ms INTEGER NOT NULL,
  damage TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (item_id, version, type)
) STRICT;
CREATE TABLE image_parts (
  item_id TEXT NOT NULL,
  version TEXT NOT NULL,
  type TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('blob', 'layer')),
  digest TEXT NOT NULL,
  PRIMARY KEY (item_id, version, type, kind, digest),
  FOREIGN KEY (item_id, version, type) REFERENCES image_items (item_id, version, type) ON DELETE CASCADE
) STRICT;
`;

export interface ItemRecord extends ItemIdent {
  readonly type: ItemType;
  readonly manifestDigest: Digest;
  readonly state: 'installed' | 'removed';
  /** Wall clock, milliseconds since 1970. */
  readonly changedAtMs: number;
  /** What the integrity check found; the item is installed anew when it is asked for. Empty: nothing. */
  readonly damage: string;
}

/** A file or directory of the store that items need. */
export interface Part {
  readonly kind: 'blob' | 'layer';
  readonly digest: Digest;
}

type Row = {
  item_id: string;
  version: string;
  type: ItemType;
  manifest_digest: string;
  state: 'installed' | 'removed';
  changed_at_ms: number;
  damage: string;
};

/** The records; each method is one durable transaction. */
export class ItemRecords {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  find({ itemId, version, type }: ItemIdent & { readonly type: ItemType }): ItemRecord | undefined {
    const row = this.#database
      .prepare('SELECT * FROM image_items WHERE item_id = ? AND version = ? AND type = ?')
      .get(itemId, version, type) as Row | undefined;
    return row && fromRow(row);
  }

  /** All, the oldest change first. */
  all(): ItemRecord[] {
    const rows = this.#database.prepare('SELECT * FROM image_items ORDER BY changed_at_ms, item_id, version').all();
    return (rows as Row[]).map(fromRow);
  }

  partsOf({ itemId, version, type }: ItemIdent & { readonly type: ItemType }): Part[] {
    return this.#database
      .prepare('SELECT kind, digest FROM image_parts WHERE item_id = ? AND version = ? AND type = ?')
      .all(itemId, version, type) as unknown as Part[];
  }

  /** Every part that a record needs, installed or removed. */
  allParts(): Part[] {
    return this.#database.prepare('SELECT DISTINCT kind, digest FROM image_parts').all() as unknown as Part[];
  }

  put(record: ItemRecord, parts: readonly Part[]): void {
    const { itemId, version, type } = record;
    transaction(
      this.#database,
      () => {
        this.#delete(record);
        this.#database
          .prepare('INSERT INTO image_items VALUES (?, ?, ?, ?, ?, ?, ?)')
          .run(itemId, version, type, record.manifestDigest, record.state, record.changedAtMs, record.damage);
        const insert = this.#database.prepare('INSERT OR IGNORE INTO image_parts VALUES (?, ?, ?, ?, ?)');
        for (const { kind, digest } of parts) insert.run(itemId, version, type, kind, digest);
      },
      'sm.images.record',
    );
  }

  /** False when there is none. */
  markRemoved(itemId: string, version: string, nowMs: number): boolean {
    const change = () =>
      this.#database
        .prepare(`UPDATE image_items SET state = 'removed', changed_at_ms = ? WHERE item_id = ? AND version = ?`)
        .run(nowMs, itemId, version).changes;
    return Number(transaction(this.#database, change, 'sm.images.remove')) > 0;
  }

  markDamaged({ itemId, version, type }: ItemRecord, damage: string): void {
    transaction(
      this.#database,
      () =>
        this.#database
          .prepare('UPDATE image_items SET damage = ? WHERE item_id = ? AND version = ? AND type = ?')
          .run(damage, itemId, version, type),
      'sm.images.damage',
    );
  }

  delete(record: ItemRecord): void {
    transaction(this.#database, () => this.#delete(record), 'sm.images.delete');
  }

  #delete({ itemId, version, type }: ItemRecord): void {
    this.#database
      .prepare('DELETE FROM image_items WHERE item_id = ? AND version = ? AND type = ?')
      .run(itemId, version, type);
  }
}

function fromRow(row: Row): ItemRecord {
  return {
    itemId: row.item_id,
    version: row.version,
    type: row.type,
    manifestDigest: row.manifest_digest,
    state: row.state,
    changedAtMs: row.changed_at_ms,
    damage: row.damage,
  };
}
