/** When the usage of something becomes an alert, goes on being one, and ends to be one (spec/sm.md 8.5). Pure. */

/** Absolute thresholds. */
export interface Threshold {
  readonly minTimeoutMs: number;
  readonly min: number;
  readonly max: number;
}

export type RuleState =
  | { readonly is: 'normal'; readonly highSinceMs?: number | undefined }
  | { readonly is: 'alert'; readonly toldAtMs: number; readonly lowSinceMs?: number | undefined };

export const NORMAL: RuleState = { is: 'normal' };

export type QuotaStatus = 'raise' | 'continue' | 'fall';

export interface RuleStep {
  readonly state: RuleState;
  /** What is to be told. */
  readonly status?: QuotaStatus;
}

/** Takes a sample of one moment; times are on the monotonic clock. A value that is no number says nothing. */
export function stepRule(rule: Threshold, state: RuleState, value: number, nowMs: number): RuleStep {
  if (!Number.isFinite(value)) return { state };
  return state.is === 'normal' ? whileNormal(rule, state, value, nowMs) : whileAlert(rule, state, value, nowMs);
}

function whileNormal(
  { max, minTimeoutMs }: Threshold,
  state: Extract<RuleState, { is: 'normal' }>,
  value: number,
  nowMs: number,
): RuleStep {
  if (value < max) return { state: NORMAL };
  const highSinceMs = state.highSinceMs ?? nowMs;
  if (nowMs - highSinceMs < minTimeoutMs) return { state: { is: 'normal', highSinceMs } };
  return { state: { is: 'alert', toldAtMs: nowMs }, status: 'raise' };
}

/** The first low sample is only remembered, so a fall needs two of them. */
function whileAlert(
  { min, minTimeoutMs }: Threshold,
  state: Extract<RuleState, { is: 'alert' }>,
  value: number,
  nowMs: number,
): RuleStep {
  const { toldAtMs, lowSinceMs } = state;
  if (value >= min) {
    if (nowMs - toldAtMs < minTimeoutMs) return { state: { is: 'alert', toldAtMs } };
    return { state: { is: 'alert', toldAtMs: nowMs }, status: 'continue' };
  }
  if (lowSinceMs === undefined) return { state: { is: 'alert', toldAtMs, lowSinceMs: nowMs } };
  if (nowMs - lowSinceMs < minTimeoutMs) return { state };
  return { state: NORMAL, status: 'fall' };
}

/** A percentage of a total as an absolute value, cut to a whole number. */
export function percentOf(total: number, percent: number): number {
  return Math.trunc((total * percent) / 100);
}
