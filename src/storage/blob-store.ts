/** Content-addressed store of blobs (spec/cm.md 3.1, spec/sm.md 3.1): the name of a file says what is in it. */
import { createHash } from 'node:crypto';
import { access, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import {
  AosError,
  asAosError,
  type Digest,
  digestOf,
  faultPoint,
  isAosError,
  parseDigest,
  throwIfCanceled,
} from '../core/index.ts';
import { ensureDirectory, removeTemporaryFiles, syncDirectory } from './atomic-file.ts';
import { readChunks, scanFile } from './chunks.ts';

const ALGORITHM = 'sha256';
const HEX = /^[0-9a-f]{64}$/;
const BLOB_MODE = 0o444;

export interface StoreOptions {
  readonly signal?: AbortSignal | undefined;
  /** Sees each piece of the content before it is stored. */
  readonly observe?: ((chunk: Uint8Array) => void) | undefined;
  /** Runs when the digest fits and before anything becomes visible; an exception refuses the blob. */
  readonly beforeCommit?: (() => void | Promise<void>) | undefined;
}

export interface StoredBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/**
 * Files `<root>/sha256/<hex>`, read-only. A blob appears at once and whole: its digest is checked, then file and
 * directory are made durable. What an interrupted write left is removed when the store is opened.
 */
export class BlobStore {
  readonly root: string;
  readonly #directory: string;

  private constructor(root: string) {
    this.root = root;
    this.#directory = join(root, ALGORITHM);
  }

  static async open(root: string): Promise<BlobStore> {
    const store = new BlobStore(root);
    await ensureDirectory(store.#directory);
    await removeTemporaryFiles(store.#directory);
    return store;
  }

  /** Where the blob lies, or would lie. Throws `invalidArgument` for a text that is no digest. */
  path(digest: Digest): string {
    return join(this.#directory, parseDigest(digest).hex);
  }

  async has(digest: Digest): Promise<boolean> {
    try {
      await access(this.path(digest));
      return true;
    } catch (error) {
      if (asAosError(error).code === 'notFound') return false;
      throw asAosError(error, `cannot look for blob ${digest}`);
    }
  }

  /** Size in bytes, undefined when the blob is not stored. */
  async size(digest: Digest): Promise<number | undefined> {
    const path = this.path(digest);
    try {
      return (await stat(path)).size;
    } catch (error) {
      if (asAosError(error).code === 'notFound') return undefined;
      throw asAosError(error, `cannot look for blob ${digest}`);
    }
  }

  /** Hashes the content again. A damaged blob is removed; false means: not there (any more). */
  async verify(digest: Digest, signal?: AbortSignal): Promise<boolean> {
    const path = this.path(digest);
    const hash = createHash(ALGORITHM);
    try {
      for await (const chunk of scanFile(path, signal)) hash.update(chunk);
    } catch (error) {
      const aos = asAosError(error, `cannot verify blob ${digest}`);
      if (aos.code === 'notFound') return false;
      // A sector that cannot be read is damage like any other.
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw aos;
      await this.remove(digest);
      return false;
    }
    if (hash.digest('hex') === parseDigest(digest).hex) return true;
    await this.remove(digest);
    return false;
  }

  /** The content, unverified. A blob that is not stored fails the stream with ENOENT. */
  read(digest: Digest): Readable {
    return readChunks(this.path(digest));
  }

  /**
   * A document. Throws `notFound`, `outOfRange` when it is larger than `maxBytes`, and `invalidChecksum` when it is
   * damaged.
   */
  async readText(digest: Digest, maxBytes: number): Promise<string> {
    const sizeBytes = await this.size(digest);
    if (sizeBytes === undefined) throw new AosError('notFound', `blob ${digest} is not stored`);
    if (sizeBytes > maxBytes) {
      throw new AosError('outOfRange', `blob ${digest} has ${sizeBytes} bytes, expected at most ${maxBytes}`);
    }
    const content = await readFile(this.path(digest));
    if (digestOf(content) !== normalize(digest)) {
      throw new AosError('invalidChecksum', `blob ${digest} is damaged: its content is ${digestOf(content)}`);
    }
    return content.toString('utf8');
  }

  /**
   * Moves a file of the same file system in, after hashing it. Throws `invalidChecksum` when it is not the content
   * of the digest; the file then stays where it is.
   */
  async adopt(digest: Digest, filePath: string, options: StoreOptions = {}): Promise<void> {
    const hash = createHash(ALGORITHM);
    try {
      for await (const chunk of scanFile(filePath, options.signal)) {
        hash.update(chunk);
        options.observe?.(chunk);
      }
    } catch (error) {
      throw storeError(error, digest);
    }
    await this.adoptHashed(digest, filePath, hash.digest('hex'), options);
  }

  /** As `adopt` for a file that was hashed (SHA-256 in hex digits) while it was written. */
  async adoptHashed(digest: Digest, filePath: string, sha256: string, options: StoreOptions = {}): Promise<void> {
    const path = this.path(digest);
    try {
      await this.#check(digest, sha256, options);
      const file = await open(filePath, 'r');
      try {
        await file.sync();
        await file.chmod(BLOB_MODE);
      } finally {
        await file.close();
      }
      await this.#publish(filePath, path);
    } catch (error) {
      throw storeError(error, digest);
    }
  }

  /** Removes a blob; one that is not there is no error. */
  async remove(digest: Digest): Promise<void> {
    try {
      await rm(this.path(digest), { force: true });
      await syncDirectory(this.#directory);
    } catch (error) {
      throw asAosError(error, `cannot remove blob ${digest}`);
    }
  }

  /** All blobs, in no order. Files that are not named by a digest are not of this store. */
  async *list(): AsyncIterable<StoredBlob> {
    for (const name of await readdir(this.#directory)) {
      if (!HEX.test(name)) continue;
      const digest = `${ALGORITHM}:${name}`;
      const sizeBytes = await this.size(digest);
      if (sizeBytes !== undefined) yield { digest, sizeBytes };
    }
  }

  async #check(digest: Digest, sha256: string, options: StoreOptions): Promise<void> {
    const found = `${ALGORITHM}:${sha256}`;
    // What the caller checks says more about the cause than a digest that does not fit.
    await options.beforeCommit?.();
    if (found !== normalize(digest)) {
      throw new AosError('invalidChecksum', `the content is ${found}, expected ${digest}`, {
        fields: { digest, found },
      });
    }
    throwIfCanceled(options.signal);
  }

  async #publish(from: string, to: string): Promise<void> {
    faultPoint('storage.blob.written');
    await rename(from, to);
    faultPoint('storage.blob.renamed');
    await syncDirectory(this.#directory);
  }
}

/** The digest as it is spelled here, whatever the case of its text. */
function normalize(digest: Digest): Digest {
  return `${ALGORITHM}:${parseDigest(digest).hex}`;
}

function storeError(error: unknown, digest: Digest): AosError {
  return isAosError(error) ? error : asAosError(error, `cannot store blob ${digest}`);
}
