/** Which instances must stop because the node is without its cloud (spec/decisions.md 5.5). Pure. */

export interface OfflineInstance<T> {
  readonly instance: T;
  /** 0: it runs without a cloud for ever. */
  readonly ttlMs: number;
}

export interface OfflinePlan<T> {
  readonly expired: readonly T[];
  /** Until the next one expires; absent: none will. */
  readonly nextInMs?: number;
}

/** Both moments on the monotonic clock. */
export function planOffline<T>(
  instances: readonly OfflineInstance<T>[],
  offlineSinceMs: number,
  nowMs: number,
): OfflinePlan<T> {
  const limited = instances
    .filter(({ ttlMs }) => ttlMs > 0)
    .map(({ instance, ttlMs }) => ({ instance, leftMs: offlineSinceMs + ttlMs - nowMs }));
  const left = limited.filter(({ leftMs }) => leftMs > 0).map(({ leftMs }) => leftMs);
  return {
    expired: limited.filter(({ leftMs }) => leftMs <= 0).map(({ instance }) => instance),
    ...(left.length > 0 ? { nextInMs: Math.min(...left) } : {}),
  };
}
