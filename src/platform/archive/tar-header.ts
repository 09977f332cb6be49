/**
 * Headers of tar archives: ustar, pax and GNU forms (pax(1), tar(5)). Pure.
 *
 * Names are bytes and stay bytes: they are held in texts of one character for each byte (`latin1`), since a name
 * need not be UTF-8. `showName` makes them readable.
 */
import { AosError } from '../../core/index.ts';

export const BLOCK_BYTES = 512;

/** What an entry is; `other` carries the letter that nobody here knows. */
export type TarType =
  | 'file'
  | 'directory'
  | 'symlink'
  | 'hardlink'
  | 'character-device'
  | 'block-device'
  | 'fifo'
  | 'sparse'
  | 'other';

/** Headers that say something about the next one. */
type ExtensionType = 'pax' | 'global-pax' | 'long-name' | 'long-link';

export interface TarHeader {
  readonly type: TarType | ExtensionType;
  /** As it stands in the archive. */
  readonly name: string;
  readonly linkName: string;
  readonly sizeBytes: number;
  /** Permission bits with set-uid, set-gid and sticky. */
  readonly mode: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly typeFlag: string;
}

const TYPES: Readonly<Record<string, TarType | ExtensionType>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
  '7': 'file',
  L: 'long-name',
  K: 'long-link',
  S: 'sparse',
  g: 'global-pax',
  x: 'pax',
};

/** A name for people. */
export function showName(name: string): string {
  return JSON.stringify(Buffer.from(name, 'latin1').toString('utf8')).slice(0, 300);
}

/** True for a block of zeros, two of which end an archive. */
export function isZeroBlock(block: Buffer): boolean {
  for (let index = 0; index < BLOCK_BYTES; index += 1) if (block[index] !== 0) return false;
  return true;
}

/** Reads a block. Throws `invalidArgument` when it is no header; `place` says where it stands. */
export function parseHeader(block: Buffer, place: string): TarHeader {
  if (!hasValidChecksum(block)) {
    throw new AosError('invalidArgument', `the archive is damaged ${place}: a header's checksum does not fit`);
  }
  const typeFlag = String.fromCharCode(block[156]!);
  const isUstar = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isUstar ? text(block, 345, 155) : '';
  const plainName = text(block, 0, 100);
  const name = prefix === '' ? plainName : `${prefix}/${plainName}`;
  const type = TYPES[typeFlag] ?? 'other';
  const sizeBytes = number(block, 124, 12, name);
  return {
    // Archives older than 1988 mark directories by a slash alone.
    type: type === 'file' && name.endsWith('/') ? 'directory' : type,
    name,
    linkName: text(block, 157, 100),
    sizeBytes: hasBody(type) ? sizeBytes : 0,
    mode: number(block, 100, 8, name) & 0o7777,
    mtime: number(block, 136, 12, name),
    deviceMajor: type.endsWith('-device') ? number(block, 329, 8, name) : 0,
    deviceMinor: type.endsWith('-device') ? number(block, 337, 8, name) : 0,
    typeFlag,
  };
}

/** Links and special files have no content, whatever their size field says. */
function hasBody(type: TarHeader['type']): boolean {
  return !['hardlink', 'symlink', 'character-device', 'block-device', 'directory', 'fifo'].includes(type);
}

function text(block: Buffer, offset: number, length: number): string {
  const end = block.indexOf(0, offset);
  return block.toString('latin1', offset, end < 0 || end > offset + length ? offset + length : end);
}

/** Octal digits, or GNU's big-endian binary with the highest bit set. */
function number(block: Buffer, offset: number, length: number, name: string): number {
  const first = block[offset]!;
  if (first === 0x80 || first === 0xff) {
    let value = 0;
    for (let index = offset + 1; index < offset + length; index += 1) value = value * 256 + block[index]!;
    // A negative number makes sense for a time before 1970 only, which is read as 1970.
    if (first === 0xff) return 0;
    if (Number.isSafeInteger(value)) return value;
    throw new AosError('invalidArgument', `entry ${showName(name)} of the archive has a number beyond all reason`);
  }
  const digits = text(block, offset, length).trim();
  if (digits === '') return 0;
  if (/^[0-7]+$/.test(digits)) return Number.parseInt(digits, 8);
  throw new AosError(
    'invalidArgument',
    `entry ${showName(name)} of the archive has ${JSON.stringify(digits)} where an octal number is expected`,
  );
}

/** Sum of the bytes with the checksum field as spaces; old writers summed signed bytes. */
function hasValidChecksum(block: Buffer): boolean {
  let unsigned = 0;
  let signed = 0;
  for (let index = 0; index < BLOCK_BYTES; index += 1) {
    const byte = index >= 148 && index < 156 ? 0x20 : block[index]!;
    unsigned += byte;
    signed += byte > 127 ? byte - 256 : byte;
  }
  const written = Number.parseInt(text(block, 148, 8).trim(), 8);
  return written === unsigned || written === signed;
}

/** Records of an extended header: `<length> <key>=<value>\n`. Throws `invalidArgument`. */
export function parsePaxRecords(body: Buffer): Map<string, string> {
  const records = new Map<string, string>();
  for (let offset = 0; offset < body.length; ) {
    // Some writers fill up with zeros.
    if (body[offset] === 0) break;
    const space = body.indexOf(0x20, offset);
    const lengthText = body.toString('latin1', offset, space < 0 ? offset : Math.min(space, offset + 12));
    const length = /^\d+$/.test(lengthText) ? Number(lengthText) : 0;
    const end = offset + length;
    const equals = body.indexOf(0x3d, space);
    if (length === 0 || end > body.length || equals < 0 || equals >= end || body[end - 1] !== 0x0a) {
      throw new AosError('invalidArgument', 'the archive has a damaged extended header');
    }
    records.set(body.toString('latin1', space + 1, equals), body.toString('latin1', equals + 1, end - 1));
    offset = end;
  }
  return records;
}

/** What an extended header says instead of the plain header. Throws `invalidArgument`, `notSupported` for sparse files. */
export function applyPax(header: TarHeader, pax: ReadonlyMap<string, string>): TarHeader {
  const name = pax.get('path') || header.name;
  for (const [key, value] of [...pax]) {
    if (key.startsWith('GNU.sparse.')) return { ...header, name, type: 'sparse' };
    if ((key === 'path' || key === 'linkpath') && value.includes('\0')) {
      throw new AosError('invalidArgument', `entry ${showName(name)} of the archive has a name with a zero byte`);
    }
  }
  const size = pax.get('size');
  if (size && (!/^\d{1,16}$/.test(size) || !Number.isSafeInteger(Number(size)))) {
    throw new AosError('invalidArgument', `entry ${showName(name)} of the archive has the size ${showName(size)}`);
  }
  const mtime = Number.parseFloat(pax.get('mtime') ?? '');
  return {
    ...header,
    name,
    linkName: pax.get('linkpath') || header.linkName,
    sizeBytes: size && hasBody(header.type) ? Number(size) : header.sizeBytes,
    mtime: Number.isFinite(mtime) ? mtime : header.mtime,
    type: header.type === 'file' && name.endsWith('/') ? 'directory' : header.type,
  };
}
