/** Numbers and times in the query of a call. */
import { AosError, parseDuration } from '../../core/index.ts';
import type { Call } from './router.ts';

/** How many are asked for. Throws `invalidArgument`. */
export function readLimit(call: Call, normal: number, most: number): number {
  const limit = Number(call.query('limit') ?? normal);
  if (Number.isInteger(limit) && limit >= 1 && limit <= most) return limit;
  throw new AosError('invalidArgument', `limit: expected a number from 1 to ${most}`);
}

/** A moment in milliseconds since 1970: a time, or a duration before now (`1h`). Throws `invalidArgument`. */
export function readMoment(call: Call, name: string, now: Date): number | undefined {
  const text = call.query(name);
  if (text === undefined) return undefined;
  const time = /^\d{4}-/.test(text) ? Date.parse(text) : now.getTime() - parseDuration(text);
  if (Number.isFinite(time)) return time;
  throw new AosError('invalidArgument', `${name}: expected a time like 2026-01-31T12:00:00Z or a duration like 1h`);
}
