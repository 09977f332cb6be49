/**
 * What IAM remembers over a restart: where certificates are, which keys wait for one, which nodes the unit has
 * (spec/iam.md 19, spec/decisions.md 6.1, IA-12). Keys and certificates themselves are in the token.
 */
import type { DatabaseSync } from 'node:sqlite';
import type { Logger } from '../../core/index.ts';
import { type Migration, openDatabase, transaction } from '../../storage/index.ts';
import { formatStoredNode, type NodeInfo, parseStoredNode } from '../node-info.ts';

/** One certificate of a type. */
export interface CertificateRecord {
  readonly type: string;
  /** DER of the issuer's name. */
  readonly issuer: Buffer;
  /** Unsigned, big-endian, without leading zeros. */
  readonly serial: Buffer;
  readonly certUrl: string;
  readonly keyUrl: string;
  readonly notAfterMs: number;
  /** Of the objects in the token. */
  readonly keyId: Buffer;
}

/** A key that has a request but no certificate yet. */
export interface PendingKey {
  readonly type: string;
  readonly keyId: Buffer;
  readonly createdAtMs: number;
}

export const IAM_MIGRATIONS: readonly Migration[] = [
  `CREATE TABLE certificates (
     type TEXT NOT NULL, issuer BLOB NOT NULL, serial BLOB NOT NULL, cert_url TEXT NOT NULL, key_url TEXT NOT NULL,
     not_after_ms INTEGER NOT NULL, key_id BLOB NOT NULL, PRIMARY KEY (issuer, serial)) STRICT;
   CREATE TABLE pending_keys (
     key_id BLOB PRIMARY KEY, type TEXT NOT NULL, created_at_ms INTEGER NOT NULL) STRICT;
   CREATE TABLE nodes (id TEXT PRIMARY KEY, info TEXT NOT NULL) STRICT;
   CREATE TABLE done_once (name TEXT PRIMARY KEY) STRICT;`,
  // An authority that was made anew may give a serial number once more, to another type or another key.
  `CREATE TABLE certificates_by_key (
     type TEXT NOT NULL, issuer BLOB NOT NULL, serial BLOB NOT NULL, cert_url TEXT NOT NULL, key_url TEXT NOT NULL,
     not_after_ms INTEGER NOT NULL, key_id BLOB NOT NULL, PRIMARY KEY (type, issuer, serial, key_id)) STRICT;
   INSERT INTO certificates_by_key SELECT type, issuer, serial, cert_url, key_url, not_after_ms, key_id FROM certificates;
   DROP TABLE certificates;
   ALTER TABLE certificates_by_key RENAME TO certificates;`,
];

interface CertificateRow {
  readonly type: string;
  readonly issuer: Uint8Array;
  readonly serial: Uint8Array;
  readonly cert_url: string;
  readonly key_url: string;
  readonly not_after_ms: number;
  readonly key_id: Uint8Array;
}

export class IamStore {
  readonly #database: DatabaseSync;
  readonly #logger: Logger;

  constructor(database: DatabaseSync, logger: Logger) {
    this.#database = database;
    this.#logger = logger;
  }

  static async open(path: string, logger: Logger): Promise<IamStore> {
    return new IamStore(await openDatabase(path, IAM_MIGRATIONS, logger), logger);
  }

  stop(): void {
    this.#database.close();
  }

  certificates(type?: string): CertificateRecord[] {
    const rows = this.#database
      .prepare(`SELECT * FROM certificates ${type === undefined ? '' : 'WHERE type = ?'} ORDER BY not_after_ms`)
      .all(...(type === undefined ? [] : [type])) as unknown as CertificateRow[];
    return rows.map((row) => ({
      type: row.type,
      issuer: Buffer.from(row.issuer),
      serial: Buffer.from(row.serial),
      certUrl: row.cert_url,
      keyUrl: row.key_url,
      notAfterMs: row.not_after_ms,
      keyId: Buffer.from(row.key_id),
    }));
  }

  /** Removes and adds in one transaction; the keys of added certificates stop waiting (spec/decisions.md IA-09). */
  changeCertificates(removed: readonly CertificateRecord[], added: readonly CertificateRecord[]): void {
    this.#inTransaction('iam.certificates', () => {
      const remove = this.#database.prepare(
        'DELETE FROM certificates WHERE type = ? AND issuer = ? AND serial = ? AND key_id = ?',
      );
      for (const { type, issuer, serial, keyId } of removed) remove.run(type, issuer, serial, keyId);
      const add = this.#database.prepare('INSERT OR REPLACE INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?)');
      const settle = this.#database.prepare('DELETE FROM pending_keys WHERE key_id = ?');
      for (const record of added) {
        const { type, issuer, serial, certUrl, keyUrl, notAfterMs, keyId } = record;
        add.run(type, issuer, serial, certUrl, keyUrl, notAfterMs, keyId);
        settle.run(keyId);
      }
    });
  }

  /** Forgets certificates and waiting keys of types, since their token is wiped. */
  clearTypes(types: readonly string[]): void {
    this.#inTransaction('iam.clear', () => {
      for (const table of ['certificates', 'pending_keys']) {
        const remove = this.#database.prepare(`DELETE FROM ${table} WHERE type = ?`);
        for (const type of types) remove.run(type);
      }
    });
  }

  pendingKeys(type: string): PendingKey[] {
    const rows = this.#database
      .prepare('SELECT * FROM pending_keys WHERE type = ? ORDER BY rowid')
      .all(type) as unknown as { key_id: Uint8Array; type: string; created_at_ms: number }[];
    return rows.map((row) => ({ type: row.type, keyId: Buffer.from(row.key_id), createdAtMs: row.created_at_ms }));
  }

  addPendingKey(key: PendingKey): void {
    this.#inTransaction('iam.pending-key', () => {
      const insert = this.#database.prepare('INSERT INTO pending_keys (key_id, type, created_at_ms) VALUES (?, ?, ?)');
      insert.run(key.keyId, key.type, key.createdAtMs);
    });
  }

  removePendingKey(keyId: Uint8Array): void {
    this.#inTransaction('iam.pending-key', () => {
      this.#database.prepare('DELETE FROM pending_keys WHERE key_id = ?').run(keyId);
    });
  }

  /** Nodes of the unit; a row that cannot be read is reported and left out. */
  nodes(): NodeInfo[] {
    const rows = this.#database.prepare('SELECT id, info FROM nodes ORDER BY rowid').all() as {
      id: string;
      info: string;
    }[];
    return rows.flatMap(({ id, info }) => {
      try {
        return [parseStoredNode(info)];
      } catch (error) {
        this.#logger.warn({ nodeId: id, error: String(error) }, 'a stored node cannot be read and is left out');
        return [];
      }
    });
  }

  saveNode(info: NodeInfo): void {
    this.#inTransaction('iam.node', () => {
      const save = 'INSERT INTO nodes VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET info = excluded.info';
      this.#database.prepare(save).run(info.nodeId, formatStoredNode(info));
    });
  }

  removeNode(nodeId: string): void {
    this.#inTransaction('iam.node', () => {
      this.#database.prepare('DELETE FROM nodes WHERE id = ?').run(nodeId);
    });
  }

  /** Takes over nodes of another database, once in the life of this one. `read` is asked only then. */
  importNodes(read: () => readonly NodeInfo[]): void {
    const name = 'import-nodes';
    if (this.#database.prepare('SELECT 1 FROM done_once WHERE name = ?').get(name)) return;
    const nodes = read();
    this.#inTransaction('iam.import-nodes', () => {
      const save = this.#database.prepare('INSERT OR IGNORE INTO nodes VALUES (?, ?)');
      for (const info of nodes) save.run(info.nodeId, formatStoredNode(info));
      this.#database.prepare('INSERT INTO done_once VALUES (?)').run(name);
    });
  }

  #inTransaction(faultName: string, work: () => void): void {
    transaction(this.#database, work, faultName);
  }
}
