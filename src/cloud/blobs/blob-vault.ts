/** Blobs as units download them: encrypted, each with its own key, and signed (spec/cloud-protocol.md 8.6, 9). */
import { createCipheriv, createDecipheriv, createHash, createSign, randomBytes, randomUUID } from 'node:crypto';
import { open, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AosError, asAosError, type Digest, faultPoint, type Logger, parseDigest } from '../../core/index.ts';
import type { BlobInfo } from '../../protocol/index.ts';
import { ensureDirectory } from '../../storage/index.ts';
import type { BlobSigner } from '../pki/authority.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import type { BlobRow, ItemStore } from '../store/items.ts';
import type { BlobFiles } from './blob-files.ts';

const CIPHER = 'aes-256-cbc';
export const BLOCK_ALGORITHM = 'AES256/CBC/PKCS7PADDING';
export const SIGNATURE_ALGORITHM = 'RSA/SHA256/PKCS1v1_5';
const FILE_MODE = 0o444;
/** Of a file that is being made. */
const UNFINISHED = '.part';

export interface VaultOptions {
  /** Where files are made; and where those of a cloud lie that has no other store. */
  readonly directory: string;
  readonly files: BlobFiles;
  readonly database: CloudDatabase;
  readonly signer: BlobSigner;
  /** Not so where another process may be storing blobs now. */
  readonly removesLeftovers: boolean;
  readonly now: () => Date;
  readonly logger: Logger;
}

/** Encrypted files, named at random; the database says what each of them is. */
export class BlobVault {
  readonly #options: VaultOptions;

  private constructor(options: VaultOptions) {
    this.#options = options;
  }

  /** Removes what interrupted uploads and removals have left, if asked. */
  static async open(options: VaultOptions): Promise<BlobVault> {
    const { directory, files, database, signer } = options;
    await ensureDirectory(directory, 0o700);
    const known = new Set(await database.read(({ items }) => items.blobFiles()));
    const names = await readdir(directory);
    for (const name of names) if (!known.has(name)) await rm(join(directory, name), { force: true });
    await files.adopt(
      directory,
      names.filter((name) => known.has(name)),
    );
    const chain = {
      name: signer.chainName,
      certificates: signer.certificates.map(({ fingerprint, der }) => ({
        fingerprint,
        certificate: der.toString('base64'),
      })),
    };
    const leftovers = await database.write(async ({ items }) => {
      await items.addChain(chain);
      return items.leftoverFiles();
    });
    const vault = new BlobVault(options);
    if (options.removesLeftovers) await vault.remove(leftovers);
    return vault;
  }

  /**
   * Stores content under its digest, reading it once. What is there already is not stored again. Throws
   * `invalidChecksum`, and stores nothing, when it is not the content of the digest; so it does when `mustFit` throws,
   * which is asked in the transaction that has added the blob.
   */
  async put(
    digest: Digest,
    source: AsyncIterable<Uint8Array>,
    provider: string,
    mustFit: (items: ItemStore) => Promise<void>,
  ): Promise<void> {
    const { directory, files, database } = this.#options;
    const wanted = `sha256:${parseDigest(digest).hex}`;
    const file = randomUUID();
    const path = join(directory, `${file}${UNFINISHED}`);
    try {
      const blob = { ...(await this.#make(wanted, file, path, source)), provider };
      faultPoint('cloud.blob.written');
      await database.write(({ items }) => items.expectFile(file));
      await files.put(file, path);
      const isNew = await database.write(async ({ items }) => {
        const isAdded = await items.addBlob(blob);
        if (isAdded) await mustFit(items);
        return isAdded;
      });
      if (!isNew) await this.remove([file]);
    } catch (error) {
      if (await database.read(({ items }) => items.isExpected(file))) await this.remove([file]);
      throw asAosError(error, `cannot store blob ${wanted}`);
    } finally {
      await rm(path, { force: true });
    }
  }

  /** Writes the encrypted file, and signs its content. */
  async #make(wanted: Digest, file: string, path: string, source: AsyncIterable<Uint8Array>) {
    const { signer, now } = this.#options;
    const key = randomBytes(32);
    const iv = randomBytes(16);
    const plainHash = createHash('sha256');
    const fileHash = createHash('sha3-256');
    const signature = createSign('RSA-SHA256');
    const cipher = createCipheriv(CIPHER, key, iv);
    let sizeBytes = 0;
    let fileBytes = 0;
    const handle = await open(path, 'wx', FILE_MODE);
    try {
      const write = async (bytes: Buffer) => {
        fileHash.update(bytes);
        fileBytes += bytes.length;
        await handle.appendFile(bytes);
      };
      for await (const chunk of source) {
        plainHash.update(chunk);
        signature.update(chunk);
        sizeBytes += chunk.byteLength;
        await write(cipher.update(chunk));
      }
      await write(cipher.final());
      const found = `sha256:${plainHash.digest('hex')}`;
      if (found !== wanted) throw new AosError('invalidChecksum', `the content is ${found}, expected ${wanted}`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    return {
      ...{ digest: wanted, sizeBytes, file, fileBytes, key, iv },
      fileSha3: fileHash.digest('hex'),
      signature: signature.sign(signer.key),
      chainName: signer.chainName,
      signedAt: now().toISOString(),
    };
  }

  /** A small document in plain. Throws `notFound`, and `outOfRange` when it is larger than `maxBytes`. */
  async readText(digest: Digest, maxBytes: number): Promise<string> {
    const blob = await this.#options.database.read(({ items }) => items.blob(digest));
    if (!blob) throw new AosError('notFound', `blob ${digest} was not uploaded`);
    if (blob.sizeBytes > maxBytes) {
      throw new AosError('outOfRange', `blob ${digest} has ${blob.sizeBytes} bytes, expected at most ${maxBytes}`);
    }
    const decipher = createDecipheriv(CIPHER, blob.key, blob.iv);
    const pieces: Buffer[] = [];
    const content = await this.read(blob.file, 0, blob.fileBytes - 1);
    for await (const chunk of content as AsyncIterable<Buffer>) pieces.push(decipher.update(chunk));
    return Buffer.concat([...pieces, decipher.final()]).toString('utf8');
  }

  /**
   * Removes files that the database does not know any more. One that cannot be removed now goes with the next start:
   * the database remembers it.
   */
  async remove(names: readonly string[]): Promise<void> {
    const { files, database, logger } = this.#options;
    for (const name of names) {
      try {
        await files.remove(name);
        await database.write(({ items }) => items.forgetFile(name));
      } catch (error) {
        logger.warn({ file: name, error: asAosError(error).message }, 'the file of a blob could not be removed');
      }
    }
  }

  /** The encrypted file from `start` to `end`, both included. Throws what its store throws. */
  read(file: string, start: number, end: number): Promise<Readable> {
    return this.#options.files.read(file, start, end);
  }
}

/** How a unit gets at a blob (spec/cloud-protocol.md 8.6). */
export function blobInfo(blob: BlobRow, baseUrl: string): BlobInfo {
  const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  return {
    digest: blob.digest,
    urls: [`${baseUrl}/${blob.file}`],
    sha256: blob.fileSha3,
    size: blob.fileBytes,
    decryptInfo: { blockAlg: BLOCK_ALGORITHM, blockIv: base64(blob.iv), blockKey: base64(blob.key) },
    signInfo: {
      chainName: blob.chainName,
      alg: SIGNATURE_ALGORITHM,
      value: base64(blob.signature),
      trustedTimestamp: blob.signedAt,
    },
  };
}
