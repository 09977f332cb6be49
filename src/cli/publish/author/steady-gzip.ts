/**
 * gzip of which most stays the same when some of the content changes, so that the next version of a layer can come as a
 * delta (docs/decisions/0025-deltas.md). Any program that reads gzip reads it.
 */
import { constants, createGzip, type Gzip } from 'node:zlib';

/** Where a part ends depends on the bytes before it alone: on 64 of them, each of which is shifted out in time. */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let mixed = Math.imul(byte + 1, 0x9e3779b1);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x85ebca6b);
  return mixed ^ (mixed >>> 13);
});
const LEAST_BYTES = 32 * 1024;
const MOST_BYTES = 512 * 1024;
/** Ends of parts are so many bits rare: each 128 KiB. */
const RARE = 17;

/** The compressor forgets everything at the end of each part, and begins the next one with a whole byte. */
export async function* steadyGzip(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  const gzip = createGzip();
  const feeding = feed(content, gzip).catch((error: Error) => {
    gzip.destroy(error);
  });
  try {
    for await (const piece of gzip as AsyncIterable<Buffer>) yield piece;
  } finally {
    gzip.destroy();
  }
  await feeding;
}

async function feed(content: AsyncIterable<Buffer>, gzip: Gzip): Promise<void> {
  const parts = new Parts();
  for await (const bytes of content) {
    for (let from = 0; from < bytes.length; ) {
      const { toByte, ends } = parts.next(bytes, from);
      await settled((done) => gzip.write(bytes.subarray(from, toByte), done));
      if (ends) await settled((done) => gzip.flush(constants.Z_FULL_FLUSH, done));
      from = toByte;
    }
  }
  gzip.end();
}

/** The end of a part, wherever it lies in the pieces that come. */
class Parts {
  #hash = 0;
  #sizeBytes = 0;

  next(bytes: Buffer, from: number): { readonly toByte: number; readonly ends: boolean } {
    for (let at = from; at < bytes.length; at += 1) {
      this.#hash = ((this.#hash << 1) + TABLE[bytes[at]!]!) | 0;
      this.#sizeBytes += 1;
      const isEnd = this.#hash >>> (32 - RARE) === 0 && this.#sizeBytes >= LEAST_BYTES;
      if (!isEnd && this.#sizeBytes < MOST_BYTES) continue;
      this.#sizeBytes = 0;
      return { toByte: at + 1, ends: true };
    }
    return { toByte: bytes.length, ends: false };
  }
}

function settled(begin: (done: (error?: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    begin((error) => (error ? reject(error) : resolve()));
  });
}
