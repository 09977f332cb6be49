/** As much of DER as certificates and signatures need here. Reads nothing beyond the bytes it is given. */
import { AosError } from './error.ts';

export interface DerValue {
  readonly tag: number;
  readonly content: Buffer;
  /** Bytes of tag, length and content together. */
  readonly sizeBytes: number;
}

/** The value at the beginning of the bytes. Throws `invalidArgument` when there is none. */
export function readDer(bytes: Buffer): DerValue {
  const tag = bytes[0];
  const first = bytes[1];
  if (tag === undefined || first === undefined) throw malformed();
  let length = first;
  let headerBytes = 2;
  if (first >= 0x80) {
    const lengthBytes = first & 0x7f;
    if (lengthBytes === 0 || lengthBytes > 4 || bytes.length < 2 + lengthBytes) throw malformed();
    length = bytes.readUIntBE(2, lengthBytes);
    headerBytes += lengthBytes;
  }
  const sizeBytes = headerBytes + length;
  if (sizeBytes > bytes.length) throw malformed();
  return { tag, content: bytes.subarray(headerBytes, sizeBytes), sizeBytes };
}

/** All values that follow one another in the bytes. */
export function readDerSequence(bytes: Buffer): DerValue[] {
  const values: DerValue[] = [];
  for (let rest = bytes; rest.length > 0; ) {
    const value = readDer(rest);
    values.push(value);
    rest = rest.subarray(value.sizeBytes);
  }
  return values;
}

/** An object identifier as text: `2.5.29.19`. */
export function readObjectId(content: Buffer): string {
  const parts: number[] = [];
  let value = 0;
  for (const byte of content) {
    value = value * 128 + (byte & 0x7f);
    if (byte & 0x80) continue;
    parts.push(value);
    value = 0;
  }
  const [first = 0, ...rest] = parts;
  const root = Math.min(2, Math.floor(first / 40));
  return [root, first - root * 40, ...rest].join('.');
}

function malformed(): AosError {
  return new AosError('invalidArgument', 'malformed DER');
}

/** Tag, length and content as bytes. */
export function writeDer(tag: number, ...content: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(content);
  if (body.length < 0x80) return Buffer.concat([Buffer.from([tag, body.length]), body]);
  const length: number[] = [];
  for (let rest = body.length; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest & 0xff);
  return Buffer.concat([Buffer.from([tag, 0x80 | length.length, ...length]), body]);
}

/** An unsigned big-endian number as DER INTEGER. */
export function writeDerInteger(value: Uint8Array): Buffer {
  let start = 0;
  while (start < value.length - 1 && value[start] === 0) start += 1;
  const digits = value.subarray(start);
  return writeDer(0x02, digits[0]! & 0x80 ? Buffer.from([0]) : Buffer.alloc(0), digits);
}
