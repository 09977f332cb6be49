/** A bundle as it streams in: the head first, then each blob into a file of its own (docs/decisions/0014-bundles.md). */
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { AosError, parseDigest } from '../../core/index.ts';
import { showName, type TarEntry, TarReader, type TarSink } from '../../platform/archive/index.ts';
import { BUNDLE_ENTRIES, BUNDLE_LIMITS, type BundleBlob } from '../../protocol/index.ts';
import type { BundleHead, HeadBytes } from './open-head.ts';

/** Where the content goes, once the head was judged. */
export interface BlobPlace {
  readonly head: BundleHead;
  readonly directory: string;
}

export interface Receiving {
  readonly source: AsyncIterable<Buffer>;
  /** Judges the head and makes room; undefined: nothing of the rest is needed. */
  readonly onHead: (head: HeadBytes) => Promise<BlobPlace | undefined>;
  readonly signal: AbortSignal;
}

/** Name of the file of a blob in its directory. */
export function blobFileOf(digest: string): string {
  return parseDigest(digest).hex;
}

/**
 * Reads a bundle. On return the head was judged and, unless it needed nothing more, every blob lies in the directory,
 * whole, with the checksum that the head names, and durable. Memory does not grow with the bundle.
 *
 * Throws `invalidChecksum` for content that was changed, `invalidArgument` for what is no whole bundle, what `onHead` throws,
 * and what writing fails with.
 */
export async function receiveBundle({ source, onHead, signal }: Receiving): Promise<void> {
  const sink = new BundleSink(onHead);
  const reader = new TarReader(sink);
  try {
    for await (const chunk of source) {
      signal.throwIfAborted();
      await reader.push(chunk);
      if (sink.isDone) return;
    }
    reader.finish();
    sink.finish();
  } finally {
    await sink.close();
  }
}

class BundleSink implements TarSink {
  readonly #onHead: Receiving['onHead'];
  readonly #heads: Buffer[] = [];
  #pieces: Buffer[] = [];
  #place: BlobPlace | undefined;
  /** Blobs that are still to come, in their order. */
  #missing: BundleBlob[] = [];
  #file: { readonly blob: BundleBlob; readonly handle: FileHandle; readonly hash: Hash } | undefined;
  isDone = false;

  constructor(onHead: Receiving['onHead']) {
    this.#onHead = onHead;
  }

  begin(entry: TarEntry): Promise<void> | undefined {
    if (this.isDone) return undefined;
    const expected = this.#expected();
    if (entry.type !== 'file' || entry.name !== expected.name) {
      const found = expected.name === '' ? 'nothing more' : expected.name;
      throw new AosError('invalidArgument', `the bundle holds ${showName(entry.name)} where ${found} is expected`);
    }
    const { atMost, exactly } = expected;
    if (entry.sizeBytes > atMost || (exactly !== undefined && entry.sizeBytes !== exactly)) {
      const limit = exactly === undefined ? `at most ${atMost}` : String(exactly);
      throw new AosError(
        'invalidArgument',
        `${showName(entry.name)} of the bundle has ${entry.sizeBytes} bytes, expected ${limit}`,
      );
    }
    return this.#place && this.#open(this.#place.directory, this.#missing[0]!);
  }

  data(piece: Buffer): Promise<void> | undefined {
    if (this.isDone) return undefined;
    if (!this.#file) {
      this.#pieces.push(piece);
      return undefined;
    }
    this.#file.hash.update(piece);
    return this.#file.handle.appendFile(piece);
  }

  end(): Promise<void> | undefined {
    if (this.isDone) return undefined;
    if (this.#file) return this.#closeFile();
    this.#heads.push(Buffer.concat(this.#pieces));
    this.#pieces = [];
    const [manifest, signature] = this.#heads;
    return manifest && signature && this.#judge({ manifest, signature });
  }

  /** No more entries will come. Throws `invalidArgument` when some are missing. */
  finish(): void {
    if (this.isDone) return;
    if (!this.#place) throw new AosError('invalidArgument', 'the file is no bundle for a unit, or it is cut short');
    const [next] = this.#missing;
    if (next) {
      throw new AosError(
        'invalidArgument',
        `the bundle is cut short: ${this.#missing.length} blobs are missing, the first is ${next.digest}`,
      );
    }
  }

  async close(): Promise<void> {
    await this.#file?.handle.close();
    this.#file = undefined;
  }

  #expected(): { readonly name: string; readonly atMost: number; readonly exactly?: number } {
    const { manifest, signature, blobs } = BUNDLE_ENTRIES;
    if (this.#heads.length === 0) return { name: manifest, atMost: BUNDLE_LIMITS.manifestBytes };
    if (!this.#place) return { name: signature, atMost: BUNDLE_LIMITS.signatureBytes };
    const [next] = this.#missing;
    if (!next) return { name: '', atMost: 0 };
    return { name: `${blobs}${blobFileOf(next.digest)}`, atMost: next.size, exactly: next.size };
  }

  async #judge(head: HeadBytes): Promise<void> {
    this.#place = await this.#onHead(head);
    this.isDone = this.#place === undefined;
    this.#missing = [...(this.#place?.head.blobs ?? [])];
  }

  async #open(directory: string, blob: BundleBlob): Promise<void> {
    const handle = await open(join(directory, blobFileOf(blob.digest)), 'wx', 0o600);
    this.#file = { blob, handle, hash: createHash('sha3-256') };
  }

  async #closeFile(): Promise<void> {
    const { blob, handle, hash } = this.#file!;
    const found = hash.digest('hex');
    if (found !== blob.sha256) {
      throw new AosError(
        'invalidChecksum',
        `the bundle is damaged: blob ${blob.digest} has checksum ${found}, expected ${blob.sha256}; copy it again`,
      );
    }
    await handle.sync();
    await this.close();
    this.#missing.shift();
  }
}
