/** Bytes per period, counted from counters that begin at 0 whenever the host does (spec/sm.md 7.8). Pure. */
import { PLAUSIBLE_DATE_MS } from '../../core/index.ts';

export const TRAFFIC_PERIODS = ['minute', 'hour', 'day', 'month', 'year'] as const;
export type TrafficPeriod = (typeof TRAFFIC_PERIODS)[number];

/** What is remembered of one direction of an instance, or of the node. */
export interface TrafficRow {
  readonly chain: string;
  /** Since the period began. */
  readonly bytes: number;
  /** What the counter said when `bytes` was counted. */
  readonly counter: number;
  /** When, in milliseconds since 1970. */
  readonly countedAt: number;
  /** The limit was reached: nothing passes in this direction until the next period. */
  readonly isBlocked: boolean;
}

/** Parts of a date that two moments of one period share, in UTC. */
const SHARED_CHARACTERS: Readonly<Record<TrafficPeriod, number>> = {
  minute: '2026-01-01T00:00'.length,
  hour: '2026-01-01T00'.length,
  day: '2026-01-01'.length,
  month: '2026-01'.length,
  year: '2026'.length,
};

export function isSamePeriod(aMs: number, bMs: number, period: TrafficPeriod): boolean {
  const of = (ms: number) => new Date(ms).toISOString().slice(0, SHARED_CHARACTERS[period]);
  return of(aMs) === of(bMs);
}

export function newRow(chain: string, nowMs: number): TrafficRow {
  return { chain, bytes: 0, counter: 0, countedAt: nowMs, isBlocked: false };
}

/**
 * The row after the counter was read again. A new period begins at 0. Above the limit a direction is blocked; it opens
 * with the next period, or when the limit is raised or gone.
 */
export function count(
  row: TrafficRow,
  counter: number,
  {
    nowMs,
    period,
    limit,
  }: { readonly nowMs: number; readonly period: TrafficPeriod; readonly limit?: number | undefined },
): TrafficRow {
  // A clock that was never set ends no period.
  const isClockSet = nowMs >= PLAUSIBLE_DATE_MS;
  // Counted without a date: it belongs to the period in which the date becomes known.
  const isSame = !isClockSet || row.countedAt < PLAUSIBLE_DATE_MS || isSamePeriod(row.countedAt, nowMs, period);
  // A counter that went back is a new one.
  const fresh = counter >= row.counter ? counter - row.counter : counter;
  const bytes = isSame ? row.bytes + fresh : 0;
  const hasLimit = limit !== undefined && limit > 0;
  return {
    chain: row.chain,
    bytes,
    counter,
    countedAt: isClockSet ? nowMs : row.countedAt,
    isBlocked: hasLimit && (row.isBlocked ? bytes >= limit : bytes > limit),
  };
}
