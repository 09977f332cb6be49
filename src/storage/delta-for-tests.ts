/** Deltas made by hand: the first bytes of the old content are the dictionary of everything. */
import { zstdCompressSync } from 'node:zlib';
import { encodeSegmentHeader, PIECE_BYTES, SEGMENT_BYTES, segmentOptions } from './delta-format.ts';

export function deltaFor(old: Buffer, content: Buffer): Buffer {
  const parts: Buffer[] = [];
  const piece = old.subarray(0, PIECE_BYTES);
  for (let from = 0; from < content.length; from += SEGMENT_BYTES) {
    parts.push(segmentFor(piece, content.subarray(from, from + SEGMENT_BYTES)));
  }
  return Buffer.concat(parts);
}

/** What its header says may be changed. */
export function segmentFor(
  piece: Buffer,
  plain: Buffer,
  header: Partial<Parameters<typeof encodeSegmentHeader>[0]> = {},
): Buffer {
  const frame = zstdCompressSync(plain, segmentOptions(piece, plain.length, 'pack'));
  const facts = { pieceStart: 0, pieceBytes: piece.length, frameBytes: frame.length, plainBytes: plain.length };
  return Buffer.concat([encodeSegmentHeader({ ...facts, ...header }), frame]);
}
