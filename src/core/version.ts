/** Order of versions (spec/cm.md 0.6). */
import { AosError } from './error.ts';

interface ParsedVersion {
  readonly base: readonly number[];
  readonly prerelease: readonly string[];
}

const IDENTIFIERS = /^[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*$/;

function parse(text: string): ParsedVersion {
  const [beforeMetadata = '', metadata] = text.split(/\+(.*)/s, 2);
  const dash = beforeMetadata.indexOf('-');
  const base = dash < 0 ? beforeMetadata : beforeMetadata.slice(0, dash);
  const prerelease = dash < 0 ? undefined : beforeMetadata.slice(dash + 1);
  const numbers = base.split('.');
  const valid =
    numbers.length <= 3 &&
    numbers.every((part) => /^(?:0|[1-9]\d*)$/.test(part)) &&
    (prerelease === undefined || IDENTIFIERS.test(prerelease)) &&
    (metadata === undefined || IDENTIFIERS.test(metadata));
  if (!valid) throw new AosError('invalidArgument', `"${text}" is not a semantic version such as 1.2.3 or 1.2.3-rc.1`);
  return { base: numbers.map(Number), prerelease: prerelease?.split('.') ?? [] };
}

function compareIdentifiers(a: string, b: string): number {
  const aNumeric = /^\d+$/.test(a);
  const bNumeric = /^\d+$/.test(b);
  if (aNumeric && bNumeric) return Math.sign(Number(a) - Number(b));
  if (aNumeric !== bNumeric) return aNumeric ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Negative when `a` is lower than `b`, 0 when equal. Throws `invalidArgument` naming a malformed text. */
export function compareVersions(a: string, b: string): number {
  const left = parse(a);
  const right = parse(b);
  for (let i = 0; i < Math.max(left.base.length, right.base.length); i += 1) {
    if (left.base[i] === undefined) return -1;
    if (right.base[i] === undefined) return 1;
    if (left.base[i] !== right.base[i]) return left.base[i]! < right.base[i]! ? -1 : 1;
  }
  if (left.prerelease.length === 0 || right.prerelease.length === 0) {
    return right.prerelease.length - left.prerelease.length === 0 ? 0 : left.prerelease.length === 0 ? 1 : -1;
  }
  for (let i = 0; i < Math.max(left.prerelease.length, right.prerelease.length); i += 1) {
    if (left.prerelease[i] === undefined) return -1;
    if (right.prerelease[i] === undefined) return 1;
    const order = compareIdentifiers(left.prerelease[i]!, right.prerelease[i]!);
    if (order !== 0) return order;
  }
  return 0;
}
