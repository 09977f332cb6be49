/** Durations in configuration and messages (spec/cm.md 0.6, spec/decisions.md C-34). Unit here: milliseconds. */
import { AosError } from './error.ts';

const SECOND_MS = 1000;
const DAY_MS = 86_400 * SECOND_MS;
const YEAR_MS = 31_556_925.97474 * SECOND_MS;

const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: SECOND_MS,
  m: 60 * SECOND_MS,
  h: 3600 * SECOND_MS,
  d: DAY_MS,
  w: 7 * DAY_MS,
  y: YEAR_MS,
};

const ISO = /^(-?)P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:[.,]\d+)?)S)?)?$/;
const GROUPS = /^(?:\d+(?:ns|us|\u00b5s|ms|s|m|h|d|w|y))+$/;

/**
 * Reads `PT10S`, `1h30m`, `10` (seconds) or a number of seconds; the answer is in milliseconds.
 * Throws `invalidArgument` naming the text.
 */
export function parseDuration(value: string | number): number {
  const text = typeof value === 'number' ? String(value) : value.trim();
  if (text === '') throw new AosError('invalidArgument', 'empty duration string');
  if (/^-?\d+(?:\.\d+)?$/.test(text)) return Math.floor(Number(text) + 0.5) * SECOND_MS;
  const iso = ISO.exec(text);
  if (iso && /\d/.test(text)) {
    const n = (index: number) => Number((iso[index] ?? '0').replace(',', '.'));
    const total =
      n(2) * YEAR_MS +
      (n(3) * YEAR_MS) / 12 +
      n(4) * 7 * DAY_MS +
      n(5) * DAY_MS +
      n(6) * UNITS_MS.h! +
      n(7) * UNITS_MS.m! +
      n(8) * SECOND_MS;
    return Math.round(iso[1] === '-' ? -total : total);
  }
  if (GROUPS.test(text)) {
    let total = 0;
    for (const [, count, unit] of text.matchAll(/(\d+)(ns|us|\u00b5s|ms|s|m|h|d|w|y)/g)) {
      total += Number(count) * UNITS_MS[unit!]!;
    }
    return total;
  }
  throw new AosError('invalidArgument', `invalid duration string "${text}", expected for example PT10S, 10s or 10`);
}

/** Writes milliseconds as ISO 8601 text; whole seconds when whole, else with a fraction. */
export function formatDuration(durationMs: number): string {
  if (durationMs === 0) return 'PT0S';
  const sign = durationMs < 0 ? '-' : '';
  let rest = Math.abs(durationMs);
  const days = Math.floor(rest / DAY_MS);
  rest -= days * DAY_MS;
  const hours = Math.floor(rest / UNITS_MS.h!);
  rest -= hours * UNITS_MS.h!;
  const minutes = Math.floor(rest / UNITS_MS.m!);
  rest -= minutes * UNITS_MS.m!;
  const seconds = Math.round(rest) / SECOND_MS;
  const time = `${hours ? `${hours}H` : ''}${minutes ? `${minutes}M` : ''}${seconds ? `${seconds}S` : ''}`;
  return `${sign}P${days ? `${days}D` : ''}${time ? `T${time}` : ''}`;
}
