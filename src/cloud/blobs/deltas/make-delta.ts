/** Makes the delta that leads from an old content to a new one (docs/decisions/0025-deltas.md). */
import { promisify } from 'node:util';
import { zstdCompress } from 'node:zlib';
import { throwIfCanceled } from '../../../core/index.ts';
import { encodeSegmentHeader, PIECE_BYTES, SEGMENT_BYTES, segmentOptions } from '../../../storage/index.ts';
import { SimilarPieces } from './similar-pieces.ts';

const compress = promisify(zstdCompress);

/** Content that can be read from anywhere. */
export interface OldContent {
  readonly sizeBytes: number;
  /** All of it, in order. */
  all(): AsyncIterable<Uint8Array>;
  read(start: number, sizeBytes: number): Promise<Buffer>;
}

/** The delta piece by piece. Memory does not grow with the new content, and by a hundredth with the old one. */
export async function* makeDelta(
  base: OldContent,
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const pieces = new SimilarPieces(base.sizeBytes);
  for await (const bytes of base.all()) {
    throwIfCanceled(signal);
    pieces.add(bytes);
  }
  // What is like nothing is likely to be like what follows that which the former segment was like.
  let expected = 0;
  for await (const plain of segments(content)) {
    throwIfCanceled(signal);
    const pieceStart = pieces.startFor(plain) ?? expected;
    const pieceBytes = Math.max(0, Math.min(PIECE_BYTES, base.sizeBytes - pieceStart));
    const piece = pieceBytes === 0 ? Buffer.alloc(0) : await base.read(pieceStart, pieceBytes);
    const frame = await compress(plain, segmentOptions(piece, plain.byteLength, 'pack'));
    const header = { pieceStart, pieceBytes, frameBytes: frame.byteLength, plainBytes: plain.byteLength };
    yield encodeSegmentHeader(header);
    yield frame;
    expected = Math.min(pieceStart + SEGMENT_BYTES, Math.max(0, base.sizeBytes - PIECE_BYTES));
  }
}

/** The content in pieces of one segment; the last one may be shorter. */
async function* segments(content: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void, undefined> {
  let segment = Buffer.allocUnsafeSlow(SEGMENT_BYTES);
  let filledBytes = 0;
  for await (const bytes of content) {
    for (let from = 0; from < bytes.byteLength; ) {
      const taken = bytes.subarray(from, from + SEGMENT_BYTES - filledBytes);
      segment.set(taken, filledBytes);
      filledBytes += taken.byteLength;
      from += taken.byteLength;
      if (filledBytes < SEGMENT_BYTES) continue;
      yield segment;
      segment = Buffer.allocUnsafeSlow(SEGMENT_BYTES);
      filledBytes = 0;
    }
  }
  if (filledBytes > 0) yield segment.subarray(0, filledBytes);
}
