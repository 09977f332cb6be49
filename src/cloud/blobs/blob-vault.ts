/** Blobs as units download them: encrypted, each with its own key, and signed (spec/cloud-protocol.md 8.6, 9). */
import { createCipheriv, createDecipheriv, createHash, createSign, randomBytes, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { AosError, asAosError, type Digest, faultPoint, parseDigest } from '../../core/index.ts';
import type { BlobInfo } from '../../protocol/index.ts';
import { ensureDirectory, syncDirectory } from '../../storage/index.ts';
import type { BlobSigner } from '../pki/authority.ts';
import type { BlobRow, ItemStore } from '../store/items.ts';

const CIPHER = 'aes-256-cbc';
export const BLOCK_ALGORITHM = 'AES256/CBC/PKCS7PADDING';
export const SIGNATURE_ALGORITHM = 'RSA/SHA256/PKCS1v1_5';
const FILE_MODE = 0o444;

export interface VaultOptions {
  readonly directory: string;
  readonly items: ItemStore;
  readonly signer: BlobSigner;
  readonly now: () => Date;
}

/** Encrypted files in one directory, named at random; the database says what each of them is. */
export class BlobVault {
  readonly #options: VaultOptions;

  private constructor(options: VaultOptions) {
    this.#options = options;
  }

  /** Removes what interrupted uploads have left. */
  static async open(options: VaultOptions): Promise<BlobVault> {
    const { directory, items, signer } = options;
    await ensureDirectory(directory, 0o700);
    const known = new Set(items.blobFiles());
    for (const name of await readdir(directory)) {
      if (!known.has(name)) await rm(join(directory, name), { force: true });
    }
    items.addChain({
      name: signer.chainName,
      certificates: signer.certificates.map(({ fingerprint, der }) => ({
        fingerprint,
        certificate: der.toString('base64'),
      })),
    });
    return new BlobVault(options);
  }

  path(file: string): string {
    return join(this.#options.directory, file);
  }

  /**
   * Stores content under its digest, reading it once. What is there already is not stored again. Throws
   * `invalidChecksum`, and stores nothing, when it is not the content of the digest.
   */
  async put(digest: Digest, source: AsyncIterable<Uint8Array>): Promise<void> {
    const { directory, items, signer, now } = this.#options;
    const wanted = `sha256:${parseDigest(digest).hex}`;
    const file = randomUUID();
    const temporary = this.path(`${file}.part`);
    const key = randomBytes(32);
    const iv = randomBytes(16);
    const plainHash = createHash('sha256');
    const fileHash = createHash('sha3-256');
    const signature = createSign('RSA-SHA256');
    const cipher = createCipheriv(CIPHER, key, iv);
    let sizeBytes = 0;
    let fileBytes = 0;
    try {
      const handle = await open(temporary, 'wx', FILE_MODE);
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
      faultPoint('cloud.blob.written');
      await rename(temporary, this.path(file));
      await syncDirectory(directory);
      faultPoint('cloud.blob.renamed');
    } catch (error) {
      await rm(temporary, { force: true });
      throw asAosError(error, `cannot store blob ${wanted}`);
    }
    const added = items.addBlob({
      ...{ digest: wanted, sizeBytes, file, fileBytes, key, iv },
      fileSha3: fileHash.digest('hex'),
      signature: signature.sign(signer.key),
      chainName: signer.chainName,
      signedAt: now().toISOString(),
    });
    if (!added) await rm(this.path(file), { force: true });
  }

  /** A small document in plain. Throws `notFound`, and `outOfRange` when it is larger than `maxBytes`. */
  async readText(digest: Digest, maxBytes: number): Promise<string> {
    const blob = this.#options.items.blob(digest);
    if (!blob) throw new AosError('notFound', `blob ${digest} was not uploaded`);
    if (blob.sizeBytes > maxBytes) {
      throw new AosError('outOfRange', `blob ${digest} has ${blob.sizeBytes} bytes, expected at most ${maxBytes}`);
    }
    const decipher = createDecipheriv(CIPHER, blob.key, blob.iv);
    const pieces: Buffer[] = [];
    for await (const chunk of createReadStream(this.path(blob.file)) as AsyncIterable<Buffer>) {
      pieces.push(decipher.update(chunk));
    }
    return Buffer.concat([...pieces, decipher.final()]).toString('utf8');
  }

  /** Removes files that the database does not know any more; what is left over goes with the next start. */
  async remove(files: readonly string[]): Promise<void> {
    for (const file of files) await rm(this.path(file), { force: true });
  }

  /** The encrypted file from `start` to `end`, both included. */
  read(file: string, start: number, end: number): Readable {
    return createReadStream(this.path(file), { start, end });
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
