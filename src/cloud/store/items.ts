/** Published items, their blobs and the chains that signed them. */
import { AosError, compareVersions, type Digest, type ItemType } from '../../core/index.ts';
import type { Sql } from './sql.ts';

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

/** Certificates that signed blobs, leaf first. */
export interface SigningChain {
  readonly name: string;
  /** DER in base64, and its name. */
  readonly certificates: readonly { readonly fingerprint: string; readonly certificate: string }[];
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
  /** The service provider who has uploaded it; '' for others. */
  readonly provider: string;
}

const ITEM =
  'itemId AS id, version, type, title, owner, indexDigest, publishedAt, defaults, verification, verificationReason';

type ItemRow = Omit<PublishedItem, 'defaults'> & { readonly defaults: string };

const fromRow = ({ defaults, ...row }: ItemRow): PublishedItem => ({
  ...row,
  defaults: JSON.parse(defaults) as DeploymentDefaults,
});

export class ItemStore {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  async list(): Promise<PublishedItem[]> {
    const rows = await this.#sql.all<ItemRow>(`SELECT ${ITEM} FROM items`);
    return rows
      .map(fromRow)
      .sort((a, b) => (a.id === b.id ? compareVersions(a.version, b.version) : a.id < b.id ? -1 : 1));
  }

  async versions(itemId: string): Promise<PublishedItem[]> {
    const rows = await this.#sql.all<ItemRow>(`SELECT ${ITEM} FROM items WHERE itemId = ?`, itemId);
    return rows.map(fromRow);
  }

  /** Throws `notFound`, with what there is instead. */
  async get(itemId: string, version: string): Promise<PublishedItem> {
    const versions = await this.versions(itemId);
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
  async add(item: PublishedItem, blobs: readonly Digest[]): Promise<boolean> {
    const versions = await this.versions(item.id);
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
    await this.#sql.run(
      `INSERT INTO items (itemId, version, type, title, owner, indexDigest, publishedAt, defaults, verification)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[item.id, item.version, item.type, item.title, item.owner],
      ...[item.indexDigest, item.publishedAt, JSON.stringify(item.defaults), item.verification],
    );
    for (const digest of new Set(blobs)) {
      await this.#sql.run(
        'INSERT INTO itemBlobs (itemId, version, digest) VALUES (?, ?, ?)',
        ...[item.id, item.version, digest],
      );
    }
    return true;
  }

  async setVerification(itemId: string, version: string, verification: Verification, reason: string): Promise<void> {
    await this.#sql.run(
      'UPDATE items SET verification = ?, verificationReason = ? WHERE itemId = ? AND version = ?',
      verification,
      reason,
      itemId,
      version,
    );
  }

  /** Removes a version; answers the files of blobs that no item needs any more. */
  async remove(itemId: string, version: string): Promise<string[]> {
    const digests = await this.#sql.all<{ digest: string }>(
      'SELECT digest FROM itemBlobs WHERE itemId = ? AND version = ?',
      ...[itemId, version],
    );
    await this.#sql.run('DELETE FROM items WHERE itemId = ? AND version = ?', itemId, version);
    const files: string[] = [];
    for (const { digest } of digests) {
      const removed = await this.#sql.get<{ file: string }>(
        `DELETE FROM blobs WHERE digest = ? AND NOT EXISTS (SELECT 1 FROM itemBlobs WHERE itemBlobs.digest = blobs.digest)
         RETURNING file`,
        digest,
      );
      if (removed) files.push(removed.file);
    }
    for (const file of files) await this.expectFile(file);
    return files;
  }

  blob(digest: Digest): Promise<BlobRow | undefined> {
    return this.#sql.get<BlobRow>('SELECT * FROM blobs WHERE digest = ?', digest);
  }

  blobOfFile(file: string): Promise<BlobRow | undefined> {
    return this.#sql.get<BlobRow>('SELECT * FROM blobs WHERE file = ?', file);
  }

  async blobFiles(): Promise<string[]> {
    const rows = await this.#sql.all<{ file: string }>('SELECT file FROM blobs');
    return rows.map((row) => row.file);
  }

  /** There will be, or still is, a file that no blob knows; until it is that of a blob, or is forgotten. */
  async expectFile(file: string): Promise<void> {
    await this.#sql.run('INSERT INTO leftoverFiles (file) VALUES (?) ON CONFLICT DO NOTHING', file);
  }

  async isExpected(file: string): Promise<boolean> {
    return (await this.#sql.get('SELECT 1 FROM leftoverFiles WHERE file = ?', file)) !== undefined;
  }

  /** The file is gone. */
  async forgetFile(file: string): Promise<void> {
    await this.#sql.run('DELETE FROM leftoverFiles WHERE file = ?', file);
  }

  /** Files that no blob knows. */
  async leftoverFiles(): Promise<string[]> {
    const rows = await this.#sql.all<{ file: string }>('SELECT file FROM leftoverFiles');
    return rows.map((row) => row.file);
  }

  /** False when another upload of the same content was faster; then the file is of no use. */
  async addBlob(blob: BlobRow): Promise<boolean> {
    const { digest, sizeBytes, file, fileBytes, fileSha3, key, iv, signature, chainName, signedAt, provider } = blob;
    const changes = await this.#sql.run(
      `INSERT INTO blobs (digest, sizeBytes, file, fileBytes, fileSha3, key, iv, signature, chainName, signedAt, provider)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      ...[digest, sizeBytes, file, fileBytes, fileSha3, key, iv, signature, chainName, signedAt, provider],
    );
    if (changes > 0) await this.forgetFile(file);
    return changes > 0;
  }

  /** Bytes that a service provider has here: in its items, and uploaded for items that are not there yet. */
  async bytesOf(provider: string): Promise<number> {
    const row = await this.#sql.get<{ bytes: number }>(
      `SELECT COALESCE(SUM(sizeBytes), 0) AS bytes FROM blobs
         WHERE digest IN (SELECT digest FROM itemBlobs JOIN items USING (itemId, version) WHERE owner = ?)
           OR (provider = ? AND NOT EXISTS (SELECT 1 FROM itemBlobs WHERE itemBlobs.digest = blobs.digest))`,
      ...[provider, provider],
    );
    return row!.bytes;
  }

  /** Removes what a service provider has uploaded before a time and no item needs; answers the files. */
  async removeAbandoned(provider: string, before: Date): Promise<string[]> {
    const removed = await this.#sql.all<{ file: string }>(
      `DELETE FROM blobs WHERE provider = ? AND signedAt < ?
         AND NOT EXISTS (SELECT 1 FROM itemBlobs WHERE itemBlobs.digest = blobs.digest) RETURNING file`,
      ...[provider, before.toISOString()],
    );
    for (const { file } of removed) await this.expectFile(file);
    return removed.map(({ file }) => file);
  }

  /** A blob that belongs to one of the items, in whatever version. */
  async blobOfItems(itemIds: ReadonlySet<string>, digest: Digest): Promise<BlobRow | undefined> {
    const items = await this.#sql.all<{ itemId: string }>('SELECT itemId FROM itemBlobs WHERE digest = ?', digest);
    return items.some(({ itemId }) => itemIds.has(itemId)) ? this.blob(digest) : undefined;
  }

  /** All blobs of these item versions, each once. */
  async blobsOf(items: readonly Pick<PublishedItem, 'id' | 'version'>[]): Promise<BlobRow[]> {
    const found = new Map<Digest, BlobRow>();
    for (const { id, version } of items) {
      const rows = await this.#sql.all<BlobRow>(
        'SELECT blobs.* FROM blobs JOIN itemBlobs USING (digest) WHERE itemId = ? AND version = ? ORDER BY digest',
        ...[id, version],
      );
      for (const row of rows) found.set(row.digest, row);
    }
    return [...found.values()];
  }

  async addChain(chain: SigningChain): Promise<void> {
    await this.#sql.run(
      'INSERT INTO chains (name, certificates) VALUES (?, ?) ON CONFLICT DO NOTHING',
      ...[chain.name, JSON.stringify(chain.certificates)],
    );
  }

  /** The chains that signed blobs of these item versions. */
  async chainsOf(items: readonly Pick<PublishedItem, 'id' | 'version'>[]): Promise<SigningChain[]> {
    const wanted = new Set<string>();
    for (const { id, version } of items) {
      const names = await this.#sql.all<{ chainName: string }>(
        'SELECT DISTINCT chainName FROM blobs JOIN itemBlobs USING (digest) WHERE itemId = ? AND version = ?',
        ...[id, version],
      );
      for (const { chainName } of names) wanted.add(chainName);
    }
    const chains = await this.#sql.all<{ name: string; certificates: string }>('SELECT * FROM chains ORDER BY name');
    return chains
      .filter((chain) => wanted.has(chain.name))
      .map(({ name, certificates }) => ({
        name,
        certificates: JSON.parse(certificates) as SigningChain['certificates'],
      }));
  }
}
