/** Makes new content of old content and a delta, segment by segment (docs/decisions/0025-deltas.md). */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import { asAosError, throwIfCanceled } from '../core/index.ts';
import { freeChunk, writeAll } from './chunks.ts';
import { badDelta, decodeSegmentHeader, HEADER_BYTES, type SegmentHeader, segmentOptions } from './delta-format.ts';

const unpack = promisify(zstdDecompress);

export interface DeltaRequest {
  /** The old content. */
  readonly baseFile: string;
  readonly deltaFile: string;
  /** Where the new content goes; what was there is lost. */
  readonly toFile: string;
  /** Of the new content; never is more written than that. */
  readonly sizeBytes: number;
  /** Sees each piece of the new content. */
  readonly observe?: ((chunk: Uint8Array) => void) | undefined;
  readonly signal: AbortSignal;
}

/**
 * Answers SHA-256 of the new content, in hex digits: whether it is the one that was wanted is for the caller to judge.
 * Throws `invalidChecksum` for a delta that is damaged, of another old content as far as that shows, or of another size
 * than was told; `canceled`; and what files fail with.
 */
export async function applyDelta(request: DeltaRequest): Promise<string> {
  const { baseFile, deltaFile, toFile } = request;
  const files: FileHandle[] = [];
  const opened = async (path: string, flags: string) => {
    const file = await open(path, flags);
    files.push(file);
    return file;
  };
  try {
    const base = await opened(baseFile, 'r');
    const delta = await opened(deltaFile, 'r');
    return await apply(base, delta, await opened(toFile, 'w'), request);
  } catch (error) {
    throw asAosError(error, 'cannot apply a delta');
  } finally {
    for (const file of files) await file.close();
  }
}

async function apply(
  base: FileHandle,
  delta: FileHandle,
  to: FileHandle,
  { sizeBytes, observe, signal }: DeltaRequest,
): Promise<string> {
  const hash = createHash('sha256');
  const { size: deltaBytes } = await delta.stat();
  let writtenBytes = 0;
  for (let at = 0; at < deltaBytes; ) {
    throwIfCanceled(signal);
    const header = decodeSegmentHeader(await readExactly(delta, at, HEADER_BYTES, 'ends within a header'));
    const frame = await readExactly(delta, at + HEADER_BYTES, header.frameBytes, 'ends within a segment');
    at += HEADER_BYTES + header.frameBytes;
    if (writtenBytes + header.plainBytes > sizeBytes) throw badDelta(`makes more than ${sizeBytes} bytes`);
    const piece = await readExactly(base, header.pieceStart, header.pieceBytes, 'refers to what the old blob has not');
    const plain = await unpackSegment(frame, piece, header);
    hash.update(plain);
    observe?.(plain);
    await writeAll(to, plain);
    writtenBytes += plain.byteLength;
    for (const buffer of [frame, piece, plain]) freeChunk(buffer);
  }
  if (writtenBytes !== sizeBytes) throw badDelta(`makes ${writtenBytes} bytes, expected ${sizeBytes}`);
  return hash.digest('hex');
}

async function unpackSegment(frame: Buffer, piece: Buffer, { plainBytes }: SegmentHeader): Promise<Buffer> {
  let plain: Buffer;
  try {
    plain = await unpack(frame, segmentOptions(piece, plainBytes, 'unpack'));
  } catch (error) {
    throw badDelta(`cannot be unpacked: ${asAosError(error).message}`, error);
  }
  if (plain.byteLength === plainBytes) return plain;
  throw badDelta(`has a segment of ${plain.byteLength} bytes that claims to have ${plainBytes}`);
}

/** Throws `invalidChecksum` with the complaint when the file ends before. */
async function readExactly(file: FileHandle, start: number, sizeBytes: number, complaint: string): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(sizeBytes);
  for (let offset = 0; offset < sizeBytes; ) {
    const { bytesRead } = await file.read(buffer, offset, sizeBytes - offset, start + offset);
    if (bytesRead === 0) throw badDelta(complaint);
    offset += bytesRead;
  }
  return buffer;
}
