/** Waiting for a unit through the events of its cloud. */
import type { CloudUnit } from './cloud-views.ts';
import type { Context } from './context.ts';
import { moments, unitNews } from './moments.ts';

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
  const end = AbortSignal.any([AbortSignal.timeout(timeoutMs), context.signal]);
  for await (const _ of moments(context, unitNews(context), end)) {
    if (isDone(await context.cloud.get<CloudUnit>(path))) return true;
  }
  context.signal.throwIfAborted();
  return false;
}
