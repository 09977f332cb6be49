/** Waiting for a unit through the events of its cloud, without polling. */
import type { CloudUnit } from './cloud-views.ts';
import type { Context } from './context.ts';

/**
 * Looks at the unit now and after each of its events until `isDone`. Answers false when the time is over; what
 * `isDone` throws ends the wait.
 */
export async function followUnit(
  context: Context,
  timeoutMs: number,
  isDone: (unit: CloudUnit) => boolean,
): Promise<boolean> {
  const path = `/api/units/${encodeURIComponent(context.unit)}`;
  const timeUp = AbortSignal.timeout(timeoutMs);
  const seen = new AbortController();
  const signal = AbortSignal.any([timeUp, context.signal, seen.signal]);
  // The stream is opened before the first look, so that nothing happens unseen between them.
  const events = context.cloud.events(`${path}/events`, signal);
  try {
    let next = nextOf(events);
    for (;;) {
      if (isDone(await context.cloud.get<CloudUnit>(path))) return true;
      if ((await next).done) break;
      next = nextOf(events);
    }
  } finally {
    // A generator that waits for news hears of a `return` with the next one only: its request is ended instead.
    seen.abort();
    await events.return(undefined);
  }
  context.signal.throwIfAborted();
  return false;
}

/**
 * The next value of a stream that is waited for later. Its failure is for whoever awaits it; when something else fails
 * first, nobody does, and that is no reason to end the process.
 */
export function nextOf<T>(values: AsyncGenerator<T>): Promise<IteratorResult<T>> {
  const next = values.next();
  next.catch(() => undefined);
  return next;
}
