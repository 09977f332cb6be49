/**
 * Values that several messages share (spec/cloud-protocol.md 9).
 *
 * A read value keeps the form it has on the wire, brought to the one spelling that is written: times and durations
 * are texts, bytes are base64 or hex. So reading what was written gives the same value again.
 */
import * as z from 'zod';
import { formatDuration, isAosError, parseDigest, parseDuration } from '../core/index.ts';

const TIME =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:[.,](\d{1,18}))?\s*(?:[Zz]|([+-])(\d{2}):?(\d{2})?)?$/;

/**
 * A time as it is written: UTC, six digits of a second, `Z` (spec/cloud-protocol.md 9.1). Offsets are obeyed
 * (spec/decisions.md C-33); without zone it is UTC. Undefined when the text is no time.
 */
export function normalizeTime(text: string): string | undefined {
  const match = TIME.exec(text.trim());
  if (!match) return undefined;
  const [, year, month, day, hour, minute, second, fraction = '', sign, offsetHours = '0', offsetMinutes = '0'] = match;
  const [y, mo, d, h, mi, s] = [year, month, day, hour, minute, second].map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const date = new Date(0);
  date.setUTCFullYear(y, mo - 1, d);
  const isDay = date.getUTCFullYear() === y && date.getUTCMonth() === mo - 1 && date.getUTCDate() === d;
  // A leap second (60) is the first one of the next minute.
  if (!isDay || h > 23 || mi > 59 || s > 60) return undefined;
  date.setUTCHours(h, mi, s);
  const offsetMs = (Number(offsetHours) * 60 + Number(offsetMinutes)) * 60_000 * (sign === '-' ? -1 : 1);
  const utc = new Date(date.getTime() - offsetMs);
  const utcYear = utc.getUTCFullYear();
  if (utcYear < 0 || utcYear > 9999) return undefined;
  return `${utc.toISOString().slice(0, 19)}.${fraction.padEnd(6, '0').slice(0, 6)}Z`;
}

/** Writes a time (spec/cloud-protocol.md 9.1). */
export function formatTime(time: Date): string {
  return `${time.toISOString().slice(0, 23)}000Z`;
}

/** The moment of a time text that a schema has read. */
export function timeOf(text: string): Date {
  return new Date(`${text.slice(0, 23)}Z`);
}

/** Text at most so long, as AosCore counts: bytes of UTF-8. */
export function text(maxBytes: number) {
  return z.string().refine((value) => Buffer.byteLength(value) <= maxBytes, `expected at most ${maxBytes} bytes`);
}

/** A name or identifier: 1 to 64 bytes. */
export const Name = text(64).refine((value) => value !== '', 'expected a name');

/** A version: 1 to 32 bytes; whether it is a SemVer is for whoever compares it. */
export const VersionText = text(32).refine((value) => value !== '', 'expected a version');

/** A whole number of at least 0; what JavaScript cannot count becomes the largest that it can. */
export const Uint = z
  .number()
  .refine((value) => value >= 0 && Number.isInteger(value), 'expected a whole number of at least 0')
  .overwrite((value) => Math.min(value, Number.MAX_SAFE_INTEGER));

export const Int = z.number().refine(Number.isInteger, 'expected a whole number');

/** A list that nobody changes after it was read. */
export function list<S extends z.ZodType>(element: S, max = Number.MAX_SAFE_INTEGER) {
  return z.array(element).max(max, `expected at most ${max} entries`).readonly();
}

/** A moment in any form that is read, brought to one (spec/cloud-protocol.md 9.1). */
export const Time = z.string().transform((value, context) => {
  const time = normalizeTime(value);
  if (time !== undefined) return time;
  return refuse(context, 'expected a time such as 2026-05-04T10:15:30Z');
});

/** Any form of spec/cloud-protocol.md 9.2, brought to ISO 8601 text. */
export const Duration = z.union([z.string(), z.number()]).transform((value, context) => {
  try {
    return formatDuration(parseDuration(value));
  } catch (error) {
    if (!isAosError(error)) throw error;
    return refuse(context, error.message);
  }
});

/** `sha256:<hex>` in lower case. */
export const DigestText = z.string().transform((value, context) => {
  try {
    const { algorithm, hex } = parseDigest(value);
    return `${algorithm}:${hex}`;
  } catch (error) {
    if (!isAosError(error)) throw error;
    return refuse(context, 'expected sha256:<64 hex digits>');
  }
});

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Standard base64; white space inside is skipped (spec/cloud-protocol.md 9.3). */
export const Base64 = z
  .string()
  .overwrite((value) => value.replace(/\s+/g, ''))
  .refine((value) => BASE64.test(value), 'expected base64');

/** A checksum of 32 bytes as hex, read from hex or base64 (spec/decisions.md C-01). */
export const Checksum256 = z.string().transform((value, context) => {
  if (/^[0-9a-fA-F]{64}$/.test(value)) return value.toLowerCase();
  const compact = value.replace(/\s+/g, '');
  if (compact.length === 44 && BASE64.test(compact)) {
    const bytes = Buffer.from(compact, 'base64');
    if (bytes.length === 32) return bytes.toString('hex');
  }
  return refuse(context, 'expected 64 hex digits or the base64 of 32 bytes');
});

/** A checksum of a state: hex in lower case, other texts as they are (spec/decisions.md C-25). */
export const StateChecksum = z
  .string()
  .overwrite((value) => (/^[0-9a-fA-F]+$/.test(value) && value.length % 8 === 0 ? value.toLowerCase() : value));

/** Correlates an answer with its request; empty counts as absent (spec/cloud-protocol.md 4). */
export const CorrelationId = text(37);
/** As `CorrelationId`, absent when it is empty. */
export const OptionalCorrelationId = CorrelationId.transform((value) => value || undefined).optional();

/** A switch that is off when absent. */
export const Flag = z.boolean().default(false);

function refuse(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}
