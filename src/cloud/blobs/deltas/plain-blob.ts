/** The content of an encrypted blob, from wherever it is wanted. */
import { createDecipheriv } from 'node:crypto';
import type { BlobRow } from '../../store/items.ts';
import type { BlobVault } from '../blob-vault.ts';
import type { OldContent } from './make-delta.ts';

const CIPHER = 'aes-256-cbc';
const BLOCK_BYTES = 16;

/** Cipher blocks are chained: each needs the one before it, and nothing else of the file. */
export class PlainBlob implements OldContent {
  readonly #blob: BlobRow;
  readonly #vault: Pick<BlobVault, 'read'>;

  constructor(blob: BlobRow, vault: Pick<BlobVault, 'read'>) {
    this.#blob = blob;
    this.#vault = vault;
  }

  get sizeBytes(): number {
    return this.#blob.sizeBytes;
  }

  async *all(): AsyncGenerator<Buffer, void, undefined> {
    const { file, fileBytes, key, iv } = this.#blob;
    const decipher = createDecipheriv(CIPHER, key, iv);
    const content = await this.#vault.read(file, 0, fileBytes - 1);
    for await (const bytes of content as AsyncIterable<Buffer>) yield decipher.update(bytes);
    yield decipher.final();
  }

  async read(start: number, sizeBytes: number): Promise<Buffer> {
    const { file, fileBytes, key, iv } = this.#blob;
    const firstByte = start - (start % BLOCK_BYTES);
    const end = Math.min(fileBytes, Math.ceil((start + sizeBytes) / BLOCK_BYTES) * BLOCK_BYTES);
    const from = Math.max(0, firstByte - BLOCK_BYTES);
    const pieces: Buffer[] = [];
    const content = await this.#vault.read(file, from, end - 1);
    for await (const bytes of content as AsyncIterable<Buffer>) pieces.push(bytes);
    const encrypted = Buffer.concat(pieces);
    const chained = firstByte === 0 ? iv : encrypted.subarray(0, BLOCK_BYTES);
    const decipher = createDecipheriv(CIPHER, key, chained).setAutoPadding(false);
    const plain = decipher.update(firstByte === 0 ? encrypted : encrypted.subarray(BLOCK_BYTES));
    return plain.subarray(start - firstByte, start - firstByte + sizeBytes);
  }
}
