/** When to look again: after news of a cloud, which are waited for without polling; a daemon of this node is asked now and then. */
import { AosError, systemClock } from '../core/index.ts';
import type { Context } from './context.ts';
import { UNREACHABLE } from './exit-codes.ts';

/** How often a daemon of this node is asked. */
const LOOK_PERIOD_MS = 1_000;

/** Where a cloud tells of news. */
export interface News {
  readonly path: string;
  /** The one kind that matters; absent: any. */
  readonly event?: string;
}

/** News of the named unit. */
export const unitNews = (context: Context, event?: string): News => ({
  path: `/api/units/${encodeURIComponent(context.unit)}/events`,
  ...(event !== undefined && { event }),
});

/** News of all units. */
export const fleetNews = (): News => ({ path: '/api/events' });

/**
 * Now, and again after each piece of news, or without news after each pause; until the signal aborts, which is Ctrl-C
 * unless another is given. Throws when the cloud ends the news.
 */
export async function* moments(
  context: Context,
  news: News | undefined,
  signal: AbortSignal = context.signal,
): AsyncGenerator<void> {
  if (news === undefined) {
    yield* untilEnd(signal);
    return;
  }
  const seen = new AbortController();
  // The stream is opened before the first look, so that nothing happens unseen between them.
  const events = context.cloud.events(news.path, AbortSignal.any([signal, seen.signal]));
  const nextNews = async (): Promise<boolean> => {
    for (;;) {
      const { done, value } = await events.next();
      if (done) return false;
      if (news.event === undefined || value.event === news.event) return true;
    }
  };
  try {
    for (;;) {
      const next = nextNews();
      // Its failure is for whoever awaits it; when a look fails first, nobody does.
      next.catch(() => undefined);
      yield;
      if (!(await next)) break;
    }
  } finally {
    // A generator that waits for news hears of a `return` with the next one only: its request is ended instead.
    seen.abort();
    await events.return(undefined);
  }
  if (signal.aborted) return;
  throw new AosError('failed', `${context.cloud.url} ended the news; start the command again`, { fields: UNREACHABLE });
}

/** Now, and again after each pause, until the end. */
export async function* untilEnd(signal: AbortSignal, periodMs = LOOK_PERIOD_MS): AsyncGenerator<void> {
  while (!signal.aborted) {
    yield;
    // Ctrl-C ends the pause, which the loop sees.
    await systemClock.sleep(periodMs, signal).catch(() => undefined);
  }
}
