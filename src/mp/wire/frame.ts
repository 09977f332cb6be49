/** Frames of the transport: port, size, SHA-256, data (spec/mp.md 6.1). Pure. */
import { hash } from 'node:crypto';
import { AosError } from '../../core/index.ts';
import { ByteQueue } from './byte-queue.ts';

export const FRAME_HEADER_BYTES = 40;
export const MAX_FRAME_DATA_BYTES = 65_536;

/** What was read: a frame, or one that was dropped because its data is not what the sender had. */
export type ReadFrame =
  | { readonly kind: 'frame'; readonly port: number; readonly data: Buffer }
  | { readonly kind: 'badChecksum'; readonly port: number; readonly sizeBytes: number };

const checksum = (data: Uint8Array): Buffer => hash('sha256', data, 'buffer');

/** The header that goes before the data. Throws `outOfRange` for more data than a frame may have. */
export function frameHeader(port: number, data: Uint8Array): Buffer {
  if (data.length > MAX_FRAME_DATA_BYTES) {
    throw new AosError('outOfRange', `a frame has at most ${MAX_FRAME_DATA_BYTES} bytes of data, not ${data.length}`);
  }
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  header.writeUInt32LE(port, 0);
  header.writeUInt32LE(data.length, 4);
  checksum(data).copy(header, 8);
  return header;
}

export function encodeFrame(port: number, data: Uint8Array): Buffer {
  return Buffer.concat([frameHeader(port, data), data]);
}

/** Reads frames out of a stream that is cut anywhere. Holds at most one frame. */
export class FrameReader {
  readonly #bytes = new ByteQueue();
  #header: { readonly port: number; readonly sizeBytes: number; readonly sum: Buffer } | undefined;

  /** Throws `outOfRange` for a size that no frame may have: the stream is out of step and of no further use. */
  push(chunk: Buffer): ReadFrame[] {
    this.#bytes.push(chunk);
    const frames: ReadFrame[] = [];
    for (;;) {
      this.#header ??= this.#readHeader();
      if (!this.#header) return frames;
      const { port, sizeBytes, sum } = this.#header;
      const data = this.#bytes.take(sizeBytes);
      if (!data) return frames;
      this.#header = undefined;
      frames.push(
        checksum(data).equals(sum) ? { kind: 'frame', port, data } : { kind: 'badChecksum', port, sizeBytes },
      );
    }
  }

  #readHeader() {
    const header = this.#bytes.take(FRAME_HEADER_BYTES);
    if (!header) return undefined;
    const sizeBytes = header.readUInt32LE(4);
    if (sizeBytes > MAX_FRAME_DATA_BYTES) {
      throw new AosError('outOfRange', `a frame announces ${sizeBytes} bytes, at most ${MAX_FRAME_DATA_BYTES} may be`);
    }
    return { port: header.readUInt32LE(0), sizeBytes, sum: Buffer.from(header.subarray(8)) };
  }
}
