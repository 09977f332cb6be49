/** Messages that survive a restart until the cloud has acknowledged them (spec/decisions.md CM-63). */
import type { DatabaseSync } from 'node:sqlite';
import { transaction } from '../../storage/index.ts';

/** Tables of the link in the CM's database. */
export const LINK_TABLES = `
CREATE TABLE link_outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  txn TEXT NOT NULL UNIQUE,
  message_type TEXT NOT NULL,
  replace_key TEXT,
  frame BLOB NOT NULL
) STRICT;
`;

export interface StoredMessage {
  readonly txn: string;
  readonly messageType: string;
  readonly replaces?: string | undefined;
  /** The frame exactly as it is sent, also when it is sent again. */
  readonly frame: Buffer;
}

export interface OutboxStore {
  /** All stored messages, oldest first. */
  load(): StoredMessage[];
  /** Stores a message and forgets those it replaces, in one durable step. */
  put(message: StoredMessage, replaced: readonly string[]): void;
  remove(txns: readonly string[]): void;
}

interface Row {
  readonly txn: string;
  readonly message_type: string;
  readonly replace_key: string | null;
  readonly frame: Uint8Array;
}

export class SqliteOutboxStore implements OutboxStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  load(): StoredMessage[] {
    const rows = this.#database
      .prepare('SELECT txn, message_type, replace_key, frame FROM link_outbox ORDER BY seq')
      .all() as unknown as Row[];
    return rows.map((row) => ({
      txn: row.txn,
      messageType: row.message_type,
      replaces: row.replace_key ?? undefined,
      frame: Buffer.from(row.frame),
    }));
  }

  put({ txn, messageType, replaces, frame }: StoredMessage, replaced: readonly string[]): void {
    transaction(
      this.#database,
      () => {
        this.#delete(replaced);
        this.#database
          .prepare('INSERT INTO link_outbox (txn, message_type, replace_key, frame) VALUES (?, ?, ?, ?)')
          .run(txn, messageType, replaces ?? null, frame);
      },
      'link.outbox.put',
    );
  }

  remove(txns: readonly string[]): void {
    if (txns.length === 0) return;
    transaction(this.#database, () => this.#delete(txns), 'link.outbox.remove');
  }

  #delete(txns: readonly string[]): void {
    const statement = this.#database.prepare('DELETE FROM link_outbox WHERE txn = ?');
    for (const txn of txns) statement.run(txn);
  }
}
