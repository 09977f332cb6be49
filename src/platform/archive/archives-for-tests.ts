/** Archives with every oddity that a hand can write: a tar maker without scruples. */
import { createHash } from 'node:crypto';
import { BLOCK_BYTES } from './tar-header.ts';

export interface RawEntry {
  readonly name: string | Buffer;
  /** Letter of the type: `0` file, `1` hard link, `2` symbolic link, `3` `4` devices, `5` directory, `6` named pipe. */
  readonly type?: string;
  readonly link?: string;
  readonly content?: string | Buffer;
  readonly mode?: number;
  readonly mtime?: number;
  readonly device?: readonly [major: number, minor: number];
  /** What the size field says; default: the truth. */
  readonly sizeField?: string;
  readonly magic?: string;
  readonly prefix?: string;
}

/** One header with its content, filled up. */
export function rawEntry(entry: RawEntry): Buffer {
  const content = Buffer.from(entry.content ?? '');
  const block = Buffer.alloc(BLOCK_BYTES);
  Buffer.from(entry.name).copy(block, 0, 0, 100);
  block.write(octal(entry.mode ?? 0o644, 8), 100, 'latin1');
  block.write(octal(0, 8), 108, 'latin1');
  block.write(octal(0, 8), 116, 'latin1');
  block.write(entry.sizeField ?? octal(content.length, 12), 124, 'latin1');
  block.write(octal(entry.mtime ?? 1_700_000_000, 12), 136, 'latin1');
  block.write(entry.type ?? '0', 156, 'latin1');
  block.write(entry.link ?? '', 157, 100, 'utf8');
  block.write(entry.magic ?? 'ustar\x0000', 257, 'latin1');
  block.write(octal(entry.device?.[0] ?? 0, 8), 329, 'latin1');
  block.write(octal(entry.device?.[1] ?? 0, 8), 337, 'latin1');
  block.write(entry.prefix ?? '', 345, 155, 'utf8');
  sealHeader(block);
  return Buffer.concat([block, content, Buffer.alloc((BLOCK_BYTES - (content.length % BLOCK_BYTES)) % BLOCK_BYTES)]);
}

/** Writes the checksum of a header. */
export function sealHeader(block: Buffer): void {
  block.fill(0x20, 148, 156);
  const sum = block.subarray(0, BLOCK_BYTES).reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
}

/** An extended header for the next entry. */
export function paxEntry(records: Readonly<Record<string, string>>): Buffer {
  const body = Object.entries(records)
    .map(([key, value]) => {
      const rest = ` ${key}=${value}\n`;
      let length = Buffer.byteLength(rest);
      length += String(length + String(length).length).length;
      return `${length}${rest}`;
    })
    .join('');
  return rawEntry({ name: 'pax', type: 'x', content: body });
}

/** A long name (`L`) or link (`K`) in the form of GNU tar for the next entry. */
export function gnuLong(type: 'L' | 'K', text: string): Buffer {
  return rawEntry({ name: '././@LongLink', type, content: `${text}\0`, magic: 'ustar  \0' });
}

/** A whole archive; buffers are put in as they are. */
export function rawTar(entries: readonly (RawEntry | Buffer)[]): Buffer {
  const parts = entries.map((entry) => (Buffer.isBuffer(entry) ? entry : rawEntry(entry)));
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK_BYTES)]);
}

export function sha256(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

function octal(value: number, length: number): string {
  return `${value.toString(8).padStart(length - 1, '0')}\0`;
}
