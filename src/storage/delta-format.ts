/**
 * What a delta looks like (docs/decisions/0025-deltas.md): the new content cut into segments, each compressed with a
 * piece of the old content as its dictionary. In the file each segment is two zstd frames: a skippable one, which says
 * which piece that is, and the compressed segment. So nobody ever needs more than one segment and one piece in memory.
 */
import { constants, type ZstdOptions } from 'node:zlib';
import { AosError } from '../core/index.ts';

/** The name of the format on the wire. */
export const DELTA_FORMAT = 'zstd-segments';

/** Content of one segment, at the most. */
export const SEGMENT_BYTES = 512 * 1024;
/** The piece of the old content that one segment refers to, at the most. */
export const PIECE_BYTES = 2 * SEGMENT_BYTES;
/** What does not compress at all becomes a little larger. */
const FRAME_BYTES = SEGMENT_BYTES + 16 * 1024;

/** One of the sixteen numbers of skippable frames (RFC 8878, 3.1.2). */
const MAGIC = 0x184d2a5d;
const FIELDS_BYTES = 20;
export const HEADER_BYTES = 8 + FIELDS_BYTES;

/** Below that zstd takes nothing for a dictionary. */
const LEAST_DICTIONARY_BYTES = 8;
/** Windows are never larger than a segment with its dictionary. */
const WINDOW_LOG = 21;

/** What stands before a compressed segment. */
export interface SegmentHeader {
  /** Where the piece of the old content begins. */
  readonly pieceStart: number;
  /** 0: the segment refers to nothing. */
  readonly pieceBytes: number;
  readonly frameBytes: number;
  readonly plainBytes: number;
}

/** The header as a skippable frame: what knows nothing of deltas passes over it. */
export function encodeSegmentHeader({ pieceStart, pieceBytes, frameBytes, plainBytes }: SegmentHeader): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt32LE(FIELDS_BYTES, 4);
  header.writeBigUInt64LE(BigInt(pieceStart), 8);
  header.writeUInt32LE(pieceBytes, 16);
  header.writeUInt32LE(frameBytes, 20);
  header.writeUInt32LE(plainBytes, 24);
  return header;
}

/** Throws `invalidChecksum` for what no delta of this format says. */
export function decodeSegmentHeader(header: Buffer): SegmentHeader {
  if (header.readUInt32LE(0) !== MAGIC || header.readUInt32LE(4) !== FIELDS_BYTES) {
    throw badDelta(`is not of the format ${DELTA_FORMAT}`);
  }
  const pieceStart = header.readBigUInt64LE(8);
  const pieceBytes = header.readUInt32LE(16);
  const frameBytes = header.readUInt32LE(20);
  const plainBytes = header.readUInt32LE(24);
  const isBounded = pieceBytes <= PIECE_BYTES && frameBytes <= FRAME_BYTES && plainBytes <= SEGMENT_BYTES;
  if (!isBounded || plainBytes === 0 || pieceStart > Number.MAX_SAFE_INTEGER) {
    throw badDelta(`has a segment of ${plainBytes} bytes in ${frameBytes}, from ${pieceBytes} bytes at ${pieceStart}`);
  }
  return { pieceStart: Number(pieceStart), pieceBytes, frameBytes, plainBytes };
}

/** How a segment is compressed, and decompressed. */
export function segmentOptions(piece: Buffer, plainBytes: number, doing: 'pack' | 'unpack'): ZstdOptions {
  const dictionary = piece.byteLength >= LEAST_DICTIONARY_BYTES ? { dictionary: piece } : {};
  if (doing === 'unpack') {
    return { ...dictionary, maxOutputLength: plainBytes, params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG } };
  }
  return { ...dictionary, pledgedSrcSize: plainBytes, params: { [constants.ZSTD_c_windowLog]: WINDOW_LOG } };
}

/** A delta that does not lead where it should. */
export function badDelta(complaint: string, cause?: unknown): AosError {
  return new AosError('invalidChecksum', `the delta ${complaint}`, cause === undefined ? {} : { cause });
}
