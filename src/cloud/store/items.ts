/** Published items, their blobs and the chains that signed them. */
import type { DatabaseSync } from 'node:sqlite';
import { AosError, compareVersions, type Digest, type ItemType } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';
import type { SigningChain } from '../units/desired-status.ts';

export interface PublishedItem {
  readonly id: string;
  readonly version: string;
  readonly type: ItemType;
  readonly title: string;
  readonly owner: string;
  readonly indexDigest: Digest;
  readonly publishedAt: string;
  /** What a deployment gets that says nothing else. */
  readonly defaults: DeploymentDefaults;
  readonly verification: Verification;
  /** Why it was judged so. */
  readonly verificationReason: string | null;
}

/** `pending` goes to units for verification only, `rejected` to none. */
export type Verification = 'pending' | 'valid' | 'rejected';

export interface DeploymentDefaults {
  readonly numInstances?: number | undefined;
  readonly priority?: number | undefined;
  readonly labels?: readonly string[] | undefined;
}

/** An encrypted, signed blob on disk. */
export interface BlobRow {
  readonly digest: Digest;
  /** Of the plain content. */
  readonly sizeBytes: number;
  /** Name of the encrypted file. */
  readonly file: string;
  readonly fileBytes: number;
  /** SHA3-256 of the encrypted file, hex. */
  readonly fileSha3: string;
  readonly key: Uint8Array;
  readonly iv: Uint8Array;
  readonly signature: Uint8Array;
  readonly chainName: string;
  readonly signedAt: string;
}

const ITEM =
  'itemId AS id, version, type, title, owner, indexDigest, publishedAt, defaults, verification, verificationReason';

type ItemRow = Omit<PublishedItem, 'defaults'> & { readonly defaults: string };

const fromRow = ({ defaults, ...row }: ItemRow): PublishedItem => ({
  ...row,
  defaults: JSON.parse(defaults) as DeploymentDefaults,
});

export class ItemStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  list(): PublishedItem[] {
    const rows = this.#database.prepare(`SELECT ${ITEM} FROM items`).all() as unknown as ItemRow[];
    return rows
      .map(fromRow)
      .sort((a, b) => (a.id === b.id ? compareVersions(a.version, b.version) : a.id < b.id ? -1 : 1));
  }

  versions(itemId: string): PublishedItem[] {
    const rows = this.#database.prepare(`SELECT ${ITEM} FROM items WHERE itemId = ?`).all(itemId);
    return (rows as unknown as ItemRow[]).map(fromRow);
  }

  /** Throws `notFound`, with what there is instead. */
  get(itemId: string, version: string): PublishedItem {
    const versions = this.versions(itemId);
    const item = versions.find((entry) => entry.version === version);
    if (item) return item;
    const known = versions.map((entry) => entry.version).join(', ');
    throw new AosError(
      'notFound',
      known === ''
        ? `no item "${itemId}" was published; "aosctl items --published" lists all`
        : `item "${itemId}" was not published in version ${version}; there is ${known}`,
    );
  }

  /**
   * Adds a version with all its blobs. The same again changes nothing and answers false. Throws `alreadyExist` for a
   * version that is there with another content, `wrongState` for one that does not rise (spec/product.md 2.3).
   */
  add(item: PublishedItem, blobs: readonly Digest[]): boolean {
    const versions = this.versions(item.id);
    const same = versions.find((entry) => entry.version === item.version);
    if (same) {
      if (same.indexDigest === item.indexDigest && same.type === item.type && same.owner === item.owner) return false;
      throw new AosError(
        'alreadyExist',
        `${item.id} ${item.version} is published already, with another content (${same.indexDigest}); raise the version`,
      );
    }
    const higher = versions.find((entry) => compareVersions(entry.version, item.version) >= 0);
    if (higher) {
      throw new AosError(
        'wrongState',
        `${item.id} is published in version ${higher.version} already; version ${item.version} is not higher`,
      );
    }
    const other = versions.find((entry) => entry.type !== item.type || entry.owner !== item.owner);
    if (other) {
      throw new AosError(
        'wrongState',
        `${item.id} is a ${other.type} of owner "${other.owner}"; a version of it cannot be a ${item.type} of "${item.owner}"`,
      );
    }
    transaction(
      this.#database,
      () => {
        this.#database
          .prepare(
            `INSERT INTO items (itemId, version, type, title, owner, indexDigest, publishedAt, defaults, verification)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
          )
          .run(
            ...[item.id, item.version, item.type, item.title, item.owner],
            ...[item.indexDigest, item.publishedAt, JSON.stringify(item.defaults), item.verification],
          );
        const insert = this.#database.prepare('INSERT INTO itemBlobs (itemId, version, digest) VALUES (?, ?, ?)');
        for (const digest of new Set(blobs)) insert.run(item.id, item.version, digest);
      },
      'cloud.item',
    );
    return true;
  }

  setVerification(itemId: string, version: string, verification: Verification, reason: string): void {
    this.#database
      .prepare('UPDATE items SET verification = ?, verificationReason = ? WHERE itemId = ? AND version = ?')
      .run(verification, reason, itemId, version);
  }

  /** Removes a version; answers the files of blobs that no item needs any more. */
  remove(itemId: string, version: string): string[] {
    return transaction(
      this.#database,
      () => {
        const digests = this.#database
          .prepare('SELECT digest FROM itemBlobs WHERE itemId = ? AND version = ?')
          .all(itemId, version) as unknown as { digest: string }[];
        this.#database.prepare('DELETE FROM items WHERE itemId = ? AND version = ?').run(itemId, version);
        const removed = this.#database.prepare(
          `DELETE FROM blobs WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM itemBlobs WHERE itemBlobs.digest = blobs.digest)
           RETURNING file`,
        );
        const files = digests.flatMap(({ digest }) =>
          (removed.all(digest) as unknown as { file: string }[]).map(({ file }) => file),
        );
        for (const file of files) this.expectFile(file);
        return files;
      },
      'cloud.item-removal',
    );
  }

  blob(digest: Digest): BlobRow | undefined {
    return this.#database.prepare('SELECT * FROM blobs WHERE digest = ?').get(digest) as BlobRow | undefined;
  }

  blobOfFile(file: string): BlobRow | undefined {
    return this.#database.prepare('SELECT * FROM blobs WHERE file = ?').get(file) as BlobRow | undefined;
  }

  blobFiles(): string[] {
    const rows = this.#database.prepare('SELECT file FROM blobs').all() as unknown as { file: string }[];
    return rows.map((row) => row.file);
  }

  /** There will be, or still is, a file that no blob knows; until it is that of a blob, or is forgotten. */
  expectFile(file: string): void {
    this.#database.prepare('INSERT OR IGNORE INTO leftoverFiles (file) VALUES (?)').run(file);
  }

  isExpected(file: string): boolean {
    return this.#database.prepare('SELECT 1 FROM leftoverFiles WHERE file = ?').get(file) !== undefined;
  }

  /** The file is gone. */
  forgetFile(file: string): void {
    this.#database.prepare('DELETE FROM leftoverFiles WHERE file = ?').run(file);
  }

  /** Files that no blob knows. */
  leftoverFiles(): string[] {
    const rows = this.#database.prepare('SELECT file FROM leftoverFiles').all() as unknown as { file: string }[];
    return rows.map((row) => row.file);
  }

  /** False when another upload of the same content was faster; then the file is of no use. */
  addBlob(blob: BlobRow): boolean {
    const { digest, sizeBytes, file, fileBytes, fileSha3, key, iv, signature, chainName, signedAt } = blob;
    return transaction(this.#database, () => {
      const { changes } = this.#database
        .prepare(
          `INSERT OR IGNORE INTO blobs (digest, sizeBytes, file, fileBytes, fileSha3, key, iv, signature, chainName, signedAt)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        )
        .run(digest, sizeBytes, file, fileBytes, fileSha3, key, iv, signature, chainName, signedAt);
      if (changes > 0) this.forgetFile(file);
      return changes > 0;
    });
  }

  /** A blob that belongs to one of the items, in whatever version. */
  blobOfItems(itemIds: readonly string[], digest: Digest): BlobRow | undefined {
    return this.#database
      .prepare(
        `SELECT * FROM blobs WHERE digest = ? AND EXISTS (
           SELECT 1 FROM itemBlobs
           WHERE itemBlobs.digest = blobs.digest AND itemId IN (SELECT value FROM json_each(?)))`,
      )
      .get(digest, JSON.stringify(itemIds)) as BlobRow | undefined;
  }

  /** All blobs of these item versions, each once. */
  blobsOf(items: readonly Pick<PublishedItem, 'id' | 'version'>[]): BlobRow[] {
    const ofItem = this.#database.prepare(
      `SELECT blobs.* FROM blobs JOIN itemBlobs USING (digest) WHERE itemId = ? AND version = ? ORDER BY digest`,
    );
    const rows = items.flatMap(({ id, version }) => ofItem.all(id, version) as unknown as BlobRow[]);
    return [...new Map(rows.map((row) => [row.digest, row])).values()];
  }

  addChain(chain: SigningChain): void {
    this.#database
      .prepare('INSERT OR IGNORE INTO chains (name, certificates) VALUES (?, ?)')
      .run(chain.name, JSON.stringify(chain.certificates));
  }

  /** The chains that signed blobs of these item versions. */
  chainsOf(items: readonly Pick<PublishedItem, 'id' | 'version'>[]): SigningChain[] {
    const names = this.#database.prepare(
      `SELECT DISTINCT chainName FROM blobs JOIN itemBlobs USING (digest) WHERE itemId = ? AND version = ?`,
    );
    const wanted = new Set(
      items.flatMap(({ id, version }) =>
        (names.all(id, version) as unknown as { chainName: string }[]).map((row) => row.chainName),
      ),
    );
    const chains = this.#database.prepare('SELECT * FROM chains ORDER BY name').all() as unknown as {
      name: string;
      certificates: string;
    }[];
    return chains
      .filter((chain) => wanted.has(chain.name))
      .map(({ name, certificates }) => ({
        name,
        certificates: JSON.parse(certificates) as SigningChain['certificates'],
      }));
  }
}
