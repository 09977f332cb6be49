/** The DER forms that requests and certificates are made of. Pure. */
import { writeDer } from '../../core/index.ts';

export const derSequence = (...parts: readonly Uint8Array[]) => writeDer(0x30, ...parts);
export const derSet = (...parts: readonly Uint8Array[]) => writeDer(0x31, ...parts);
export const derUtf8 = (text: string) => writeDer(0x0c, Buffer.from(text));
export const derOctetString = (bytes: Uint8Array) => writeDer(0x04, bytes);
export const derBoolean = (value: boolean) => writeDer(0x01, Buffer.from([value ? 0xff : 0]));
/** A whole number of bytes. */
export const derBitString = (bytes: Uint8Array) => writeDer(0x03, Buffer.from([0]), bytes);

/** `2.5.29.17` and the like. */
export function derObjectId(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  return writeDer(0x06, Buffer.from([first * 40 + second, ...rest.flatMap(base128)]));
}

function base128(value: number): number[] {
  const bytes = [value % 128];
  for (let left = Math.floor(value / 128); left > 0; left = Math.floor(left / 128)) bytes.unshift((left % 128) | 0x80);
  return bytes;
}

/** UTCTime until 2049, GeneralizedTime after it (RFC 5280, 4.1.2.5). */
export function derTime(time: Date): Buffer {
  const digits = time.toISOString().replace(/[-:T]/g, '').slice(0, 14);
  const short = time.getUTCFullYear() >= 1950 && time.getUTCFullYear() < 2050;
  return short ? writeDer(0x17, Buffer.from(`${digits.slice(2)}Z`)) : writeDer(0x18, Buffer.from(`${digits}Z`));
}
