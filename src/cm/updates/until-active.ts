/** Waits until every instance has started or failed (spec/cm.md 2.4 step 4). */
import { AosError, type Clock, canceledBy, instanceKey, throwIfCanceled } from '../../core/index.ts';
import type { InstanceStatus } from '../model.ts';

export interface WatchedInstances {
  statuses(): readonly InstanceStatus[];
  subscribe(listener: (changed: readonly InstanceStatus[]) => void): () => void;
}

/** Throws `timeout` when an instance is still activating and none has come to another state for `pauseMs`. */
export async function untilActive(
  instances: WatchedInstances,
  pauseMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  let changed: () => void = () => undefined;
  const states = new Map(instances.statuses().map((status) => [keyOf(status), status.state]));
  const unsubscribe = instances.subscribe((list) => {
    // An instance that writes its data again and again is news, and no progress.
    const moved = list.filter((status) => states.get(keyOf(status)) !== status.state);
    for (const status of moved) states.set(keyOf(status), status.state);
    if (moved.length > 0) changed();
  });
  try {
    while (instances.statuses().some(({ state }) => state === 'activating')) {
      throwIfCanceled(signal);
      const timer = new AbortController();
      const news = new Promise<'changed'>((resolve) => {
        changed = () => resolve('changed');
      });
      const waited = clock.sleep(pauseMs, AbortSignal.any([signal, timer.signal])).then(
        () => 'timeout' as const,
        () => 'ended' as const,
      );
      const outcome = await Promise.race([news, waited]);
      timer.abort();
      if (signal.aborted) throw canceledBy(signal);
      if (outcome === 'timeout') throw new AosError('timeout', 'instances are activating and none makes progress');
    }
  } finally {
    unsubscribe();
  }
}

function keyOf({ ident, version }: InstanceStatus): string {
  return `${instanceKey(ident)}${version}`;
}
