/**
 * Decrypts a blob while it is downloaded (spec/cm.md 3.6, spec/cloud-protocol.md 9.6): only plain content is ever
 * written, once, and a download that was interrupted goes on where it stopped.
 */
import { createHash, type Hash, timingSafeEqual } from 'node:crypto';
import { throwIfCanceled } from '../core/index.ts';
import { type StreamHash, streamHash } from './background-hash.ts';
import { scanFile } from './chunks.ts';
import { BLOCK_BYTES, type BlobCipher, blobCipher, type DecryptInfo, type Decryption } from './decrypt.ts';
import { DownloadMismatch } from './download-mismatch.ts';
import type { Intake } from './partial-file.ts';
import type { SignatureCheck } from './signature.ts';

export interface DecryptingIntakeOptions {
  readonly decryptInfo: DecryptInfo;
  /** Size of the download, 0 when it is not known. */
  readonly sizeBytes: number;
  /** Of what was sent, SHA3-256 or SHA-256. */
  readonly checksum?: Buffer | undefined;
  /** Begins the check of the plain content; again when the download begins anew. */
  readonly beginSignature?: (() => SignatureCheck) | undefined;
}

/** What is known at the end of a download. */
export interface PlainContent {
  /** Without padding. */
  readonly sizeBytes: number;
  /** SHA-256 in hex digits. */
  readonly sha256: string;
}

const NOTHING = Buffer.alloc(0);

export class DecryptingIntake implements Intake {
  readonly #cipher: BlobCipher;
  readonly #checksum: Buffer | undefined;
  readonly #beginSignature: (() => SignatureCheck) | undefined;
  /** SHA3-256 of what was sent; absent when nobody asks. */
  readonly #sent: StreamHash | undefined;
  #decryption: Decryption;
  #plain: Hash = createHash('sha256');
  #signature: SignatureCheck | undefined;
  #sizeBytes = 0;
  #held: Buffer = NOTHING;
  /** Of the plain content, not seen by hash and signature yet: it may be padding. */
  #lastBlock: Buffer | undefined;

  /** Throws what `blobCipher` and `beginSignature` throw. End it. */
  constructor({ decryptInfo, sizeBytes, checksum, beginSignature }: DecryptingIntakeOptions) {
    this.#cipher = blobCipher(decryptInfo);
    this.#decryption = this.#cipher.decryption();
    this.#beginSignature = beginSignature;
    this.#signature = beginSignature?.();
    this.#checksum = checksum;
    this.#sent = checksum && streamHash('sha3-256', sizeBytes);
  }

  restart(): void {
    this.#decryption = this.#cipher.decryption();
    this.#plain = createHash('sha256');
    this.#signature = this.#beginSignature?.();
    this.#sent?.restart();
    this.#sizeBytes = 0;
    this.#held = NOTHING;
    this.#lastBlock = undefined;
  }

  async continueAt(path: string, sizeBytes: number, signal: AbortSignal): Promise<number> {
    if (sizeBytes === this.#sizeBytes) {
      this.#held = NOTHING;
      return sizeBytes;
    }
    this.restart();
    for await (const sent of this.#sentFor(path, sizeBytes, signal)) await this.#use(sent);
    return this.#sizeBytes;
  }

  async take(piece: Uint8Array): Promise<Uint8Array> {
    const known = this.#held.byteLength === 0 ? piece : Buffer.concat([this.#held, piece]);
    const usableBytes = known.byteLength - this.#cipher.heldBytes(known.byteLength);
    // A copy: the piece is used again by whoever gave it.
    this.#held = Buffer.from(known.subarray(usableBytes));
    return this.#use(known.subarray(0, usableBytes));
  }

  /**
   * Judges the whole, in this order: what was sent, its end, the signature. `path` is the file, for a checksum of the
   * rare kind. Throws `DownloadMismatch`, what `Decryption.finish` throws, and `invalidChecksum` for a wrong signature.
   */
  async finish(path: string, signal: AbortSignal): Promise<PlainContent> {
    await this.#sent?.update(this.#held);
    if (this.#sent && this.#checksum && !timingSafeEqual(await this.#sent.digest(), this.#checksum)) {
      await this.#requireSha256(path, this.#checksum, signal);
    }
    const paddingBytes = this.#decryption.finish(this.#held, this.#lastBlock);
    if (this.#lastBlock) this.#see(this.#lastBlock.subarray(0, BLOCK_BYTES - paddingBytes));
    this.#signature?.verify();
    return { sizeBytes: this.#sizeBytes - paddingBytes, sha256: this.#plain.digest('hex') };
  }

  async end(): Promise<void> {
    await this.#sent?.end();
  }

  /** The other reading of the checksum, tried only now since it is rare and costs a second pass. */
  async #requireSha256(path: string, expected: Buffer, signal: AbortSignal): Promise<void> {
    const hash = createHash('sha256');
    for await (const sent of this.#sentFor(path, this.#sizeBytes, signal)) hash.update(sent);
    hash.update(this.#held);
    if (!hash.digest().equals(expected)) throw new DownloadMismatch(expected, path);
  }

  async #use(sent: Uint8Array): Promise<Uint8Array> {
    await this.#sent?.update(sent);
    const plain = this.#decryption.update(sent);
    this.#sizeBytes += plain.byteLength;
    if (!this.#cipher.isPadded) this.#see(plain);
    else if (plain.byteLength > 0) {
      if (this.#lastBlock) this.#see(this.#lastBlock);
      const lastBlock = plain.subarray(-BLOCK_BYTES);
      this.#see(plain.subarray(0, -BLOCK_BYTES));
      this.#lastBlock = Buffer.from(lastBlock);
    }
    return plain;
  }

  #see(plain: Uint8Array): void {
    this.#plain.update(plain);
    this.#signature?.update(plain);
  }

  /** What the first bytes of the file were made of. */
  async *#sentFor(path: string, sizeBytes: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    const encrypt = this.#cipher.encryption();
    let restBytes = this.#cipher.isPadded ? sizeBytes - (sizeBytes % BLOCK_BYTES) : sizeBytes;
    for await (const plain of scanFile(path, signal)) {
      throwIfCanceled(signal);
      const usable = plain.subarray(0, restBytes);
      if (usable.byteLength === 0) return;
      restBytes -= usable.byteLength;
      yield encrypt(usable);
    }
  }
}
