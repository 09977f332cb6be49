/** From a packed layer to a directory that an overlay can use (spec/decisions.md 4.3, spec/sm.md 3.4). */
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import {
  AosError,
  asAosError,
  canceledBy,
  type Digest,
  isAosError,
  parseDigest,
  throwIfCanceled,
} from '../../core/index.ts';
import { LayerWriter } from './layer-writer.ts';
import { TarReader } from './tar-reader.ts';
import type { UnpackedLayer, UnpackRequest } from './unpack-model.ts';

const READ_CHUNK_BYTES = 256 * 1024;

/**
 * Unpacks a layer, reading its file once. Nothing is made durable, and after an error the directory may be there in
 * part: both are for the caller.
 *
 * Throws `invalidChecksum` when the file is not that of the digest, `invalidArgument` naming the entry that is refused,
 * `noMemory` when the disk is full, `canceled`.
 */
export async function unpackLayer(request: UnpackRequest): Promise<UnpackedLayer> {
  const { file, digest, into, signal } = request;
  const packedHash = createHash('sha256');
  const tarHash = createHash('sha256');
  try {
    await mkdir(into, { mode: 0o755 });
    const writer = await LayerWriter.create(request);
    const reader = new TarReader(writer);
    const compression = await detectCompression(file);
    const take = async (source: AsyncIterable<Buffer>) => {
      for await (const chunk of source) {
        throwIfCanceled(signal);
        if (compression !== 'none') tarHash.update(chunk);
        writer.countPlain(chunk.length);
        await reader.push(chunk);
      }
    };
    try {
      await readThrough(file, packedHash, compression, take, signal);
      reader.finish();
    } finally {
      await writer.close();
    }
    const found = digestFrom(packedHash);
    if (found !== normalized(digest)) throw wrongContent(digest, found);
    await writer.complete();
    const diffId = compression === 'none' ? found : digestFrom(tarHash);
    return { tree: writer.tree, diffId, sizeBytes: writer.sizeBytes };
  } catch (error) {
    throw await explain(error, request);
  }
}

type Compression = 'gzip' | 'zstd' | 'none';

/** By the first bytes, as `tar` does: media types are often wrong. */
async function detectCompression(file: string): Promise<Compression> {
  const handle = await open(file, 'r');
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(4), 0, 4, 0);
    if (bytesRead >= 2 && buffer[0] === 0x1f && buffer[1] === 0x8b) return 'gzip';
    return bytesRead === 4 && buffer.readUInt32LE() === 0xfd2fb528 ? 'zstd' : 'none';
  } finally {
    await handle.close();
  }
}

async function readThrough(
  file: string,
  hash: Hash,
  compression: Compression,
  take: (source: AsyncIterable<Buffer>) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const packed = async function* (source: AsyncIterable<Buffer>) {
    for await (const chunk of source) {
      hash.update(chunk);
      yield chunk;
    }
  };
  const source = createReadStream(file, { highWaterMark: READ_CHUNK_BYTES });
  if (compression === 'none') return pipeline(source, packed, take, { signal });
  const options = { chunkSize: READ_CHUNK_BYTES };
  const unpack = compression === 'gzip' ? createGunzip(options) : createZstdDecompress(options);
  return pipeline(source, packed, unpack, take, { signal });
}

function digestFrom(hash: Hash): Digest {
  return `sha256:${hash.digest('hex')}`;
}

function normalized(digest: Digest): Digest {
  const { algorithm, hex } = parseDigest(digest);
  return `${algorithm}:${hex}`;
}

function wrongContent(digest: Digest, found: Digest): AosError {
  return new AosError('invalidChecksum', `the packed layer is ${found}, expected ${digest}`, {
    fields: { digest, found },
  });
}

/** A damaged file shows in many ways; its digest says so more clearly than what the damage led to. */
async function explain(error: unknown, request: UnpackRequest): Promise<AosError> {
  const { file, digest, signal } = request;
  if (signal.aborted) return canceledBy(signal);
  const aos = isAosError(error) ? error : unpackError(error, digest);
  if (aos.code !== 'invalidArgument') return aos;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: READ_CHUNK_BYTES })) hash.update(chunk as Buffer);
  const found = digestFrom(hash);
  return found === normalized(digest) ? aos : wrongContent(digest, found);
}

function unpackError(error: unknown, digest: Digest): AosError {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  // Codes of the decompressors are words, those of the system have a number.
  if (code.startsWith('Z_') || code.startsWith('ZSTD_')) {
    return new AosError('invalidArgument', `layer ${digest} cannot be decompressed: ${String(error)}`, {
      cause: error,
    });
  }
  return asAosError(error, `cannot unpack layer ${digest}`);
}
