/** Reading and writing of large files piece by piece. */
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { throwIfCanceled } from '../core/index.ts';

/** Large enough that calls cost little, small enough that hashing one does not hold up the event loop. */
const READ_CHUNK_BYTES = 512 * 1024;

/** The content of a file in pieces that hash well. */
export function readChunks(path: string, signal?: AbortSignal): Readable {
  return createReadStream(path, { highWaterMark: READ_CHUNK_BYTES, ...(signal && { signal }) });
}

/**
 * As `readChunks` for a reader that is done with each piece when it asks for the next one: all pieces share two
 * buffers, since fresh ones would keep the garbage collector busy. Throws what opening and reading throw, and the reason
 * of the signal.
 */
export async function* scanFile(path: string, signal?: AbortSignal): AsyncGenerator<Buffer, void, undefined> {
  const file = await open(path, 'r');
  let next: Promise<{ readonly bytesRead: number; readonly buffer: Buffer }> | undefined;
  try {
    const { size } = await file.stat();
    const pieceBytes = Math.min(READ_CHUNK_BYTES, Math.max(1, size));
    const buffers = [Buffer.allocUnsafeSlow(pieceBytes), Buffer.allocUnsafeSlow(pieceBytes)] as const;
    const read = (index: number) => file.read(buffers[index % 2] as Buffer, 0, pieceBytes);
    next = read(0);
    for (let index = 1; ; index += 1) {
      const { bytesRead, buffer } = await next;
      throwIfCanceled(signal);
      if (bytesRead === 0) return;
      next = read(index);
      // It is awaited in the next turn; until then nobody listens.
      next.catch(() => undefined);
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await next?.catch(() => undefined);
    await file.close();
  }
}

/** One write may take less than the whole. */
export async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let offset = 0; offset < chunk.byteLength; ) {
    const { bytesWritten } = await file.write(chunk, offset);
    offset += bytesWritten;
  }
}

/**
 * Gives the memory of a piece back at once: a stream of large pieces would otherwise fill a multiple of its share before
 * the garbage collector notices. A piece that shares its memory with others is left alone.
 */
export function freeChunk(chunk: Uint8Array): void {
  const { buffer } = chunk;
  if (buffer instanceof ArrayBuffer && chunk.byteLength === buffer.byteLength) buffer.transfer(0);
}
