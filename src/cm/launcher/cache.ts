/** Instances that do not run any more but whose data waits for them (spec/cm.md 4.13, CM-34, CM-40, CM-41). Pure. */
import { instanceKey, PLAUSIBLE_DATE_MS } from '../../core/index.ts';
import { LAUNCHER } from '../numbers.ts';
import type { InstanceRow } from './instance-row.ts';

export interface CachePlan {
  readonly kept: readonly InstanceRow[];
  /** Oldest first. */
  readonly removed: readonly InstanceRow[];
}

/**
 * Which of the inactive rows stay: not those older than the TTL, and of the rest as many of the newest as there is
 * room beside the active ones. A row that was stamped by a clock that lied begins to count anew.
 */
export function planCache(
  inactive: readonly InstanceRow[],
  activeCount: number,
  { nowMs, ttlMs }: { readonly nowMs: number; readonly ttlMs: number },
): CachePlan {
  const isPlausible = (row: InstanceRow) => row.stampedAtMs >= PLAUSIBLE_DATE_MS && row.stampedAtMs <= nowMs;
  const mayExpire = nowMs >= PLAUSIBLE_DATE_MS;
  const stamped = inactive.map((row) => (mayExpire && !isPlausible(row) ? { ...row, stampedAtMs: nowMs } : row));
  const byAge = [...stamped].sort((a, b) => a.stampedAtMs - b.stampedAtMs);
  const surplus = Math.max(0, activeCount + inactive.length - LAUNCHER.maxInstances);
  const removed = byAge.filter((row, index) => index < surplus || (mayExpire && nowMs - row.stampedAtMs >= ttlMs));
  const gone = new Set(removed);
  return { kept: stamped.filter((row) => !gone.has(row)), removed };
}

/** The instances that the rows are of, in whatever version. */
export function identsOf(rows: readonly InstanceRow[]): ReadonlySet<string> {
  return new Set(rows.map(({ ident }) => instanceKey(ident)));
}
