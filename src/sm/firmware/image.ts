/** Images of boot slots: examined before anything is written, and compared with what was written (spec/sm.md 6.8). */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { AosError, asAosError, canceledBy, parseDigest } from '../../core/index.ts';
import type { Partition } from '../../platform/partitions/index.ts';
import type { ImageFacts } from './boot-state.ts';
import type { ComponentImage } from './firmware-model.ts';

const FULL_IMAGE = 'vnd.aos.image.component.full';
const PIECE_BYTES = 1024 * 1024;
const ALGORITHM = 'sha256';

/** Throws `invalidArgument` for an image that is not for this runtime. */
export function checkBootImageType({ mediaType }: Pick<ComponentImage, 'mediaType'>): void {
  if (mediaType.includes(FULL_IMAGE) && !mediaType.endsWith('+squashfs')) return;
  const text = `the image is of type "${mediaType}", expected application/${FULL_IMAGE}.v1+gzip`;
  throw new AosError('invalidArgument', text);
}

/**
 * Digest and size of the content of a gzip'ed image. Throws `invalidArgument` when it is no gzip, `invalidChecksum` when
 * the file is not that of its digest, `noMemory` when the content is longer than `limitBytes`, `canceled`.
 */
export async function examineImage(
  image: ComponentImage,
  limitBytes: number,
  signal: AbortSignal,
): Promise<ImageFacts> {
  const content = createHash(ALGORITHM);
  let size = 0;
  await unpack(image, signal, async (pieces) => {
    for await (const piece of pieces) {
      size += piece.length;
      if (size > limitBytes) {
        throw new AosError('noMemory', `the image has more than the ${limitBytes} bytes of the slot`);
      }
      content.update(piece);
    }
  });
  if (size === 0) throw new AosError('invalidArgument', 'the image is empty');
  return { digest: digestText(content), size };
}

/** Writes the image, and reads it back. Throws `invalidChecksum` when the medium holds something else. */
export async function writeImage(
  image: ComponentImage,
  facts: ImageFacts,
  slot: Partition,
  signal: AbortSignal,
): Promise<void> {
  await unpack(image, signal, (pieces) => slot.write(pieces, signal));
  await verifySlot(slot, facts, signal);
}

/** Throws `invalidChecksum` when the slot does not begin with this content. */
export async function verifySlot(slot: Partition, { digest, size }: ImageFacts, signal: AbortSignal): Promise<void> {
  const found = await digestOfSlot(slot, size, signal);
  if (found === digest) return;
  throw new AosError('invalidChecksum', `${slot.name} holds ${found}, expected ${digest}`);
}

async function digestOfSlot(slot: Partition, size: number, signal: AbortSignal): Promise<string> {
  const hash = createHash(ALGORITHM);
  for await (const piece of slot.read(size, signal)) hash.update(piece);
  return digestText(hash);
}

/**
 * Makes one slot hold what another one holds, as far as both reach, and compares. Throws `invalidChecksum`, or what
 * reading and writing fail with.
 */
export async function copySlot(from: Partition, to: Partition, bytes: number, signal: AbortSignal): Promise<void> {
  const hash = createHash(ALGORITHM);
  const hashed = async function* (): AsyncGenerator<Uint8Array> {
    for await (const piece of from.read(bytes, signal)) {
      hash.update(piece);
      yield piece;
    }
  };
  await to.write(hashed(), signal);
  await verifySlot(to, { digest: digestText(hash), size: bytes }, signal);
}

function digestText(hash: Hash): string {
  return `${ALGORITHM}:${hash.digest('hex')}`;
}

/** The file is checked against its digest while it is unpacked: it lay on the disk for a while. */
async function unpack(
  { path, digest }: ComponentImage,
  signal: AbortSignal,
  take: (pieces: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<void> {
  const packed = createHash(ALGORITHM);
  const tap = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      packed.update(chunk);
      done(undefined, chunk);
    },
  });
  try {
    await pipeline(
      createReadStream(path, { highWaterMark: PIECE_BYTES }),
      tap,
      createGunzip({ chunkSize: PIECE_BYTES }),
      async (pieces: AsyncIterable<Uint8Array>) => take(pieces),
      { signal },
    );
  } catch (error) {
    if (signal.aborted) throw canceledBy(signal);
    if (String((error as NodeJS.ErrnoException).code).startsWith('Z_')) {
      throw new AosError('invalidArgument', `the image is no gzip: ${(error as Error).message}`, { cause: error });
    }
    throw asAosError(error);
  }
  if (packed.digest('hex') === parseDigest(digest).hex) return;
  throw new AosError('invalidChecksum', `the image is not that of its digest ${digest}`);
}
