/** Work that is done at the same time, of which nothing goes on in the background when a part of it has failed. */
import { throwIfCanceled } from './error.ts';

/** As `Promise.all`, but it throws when all have ended: the first error in the order of the list. */
export async function allDone<const T extends readonly unknown[]>(
  work: T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  await Promise.allSettled(work);
  return await Promise.all(work);
}

/**
 * Does the same with each, with so many at a time. After the first failure nothing new is begun and what is under way is
 * canceled by its signal; the failure is thrown when all have ended.
 */
export async function eachOf<T>(
  items: readonly T[],
  parallel: number,
  work: (item: T, signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const failure = new AbortController();
  const either = AbortSignal.any([signal, failure.signal]);
  // All take from the same one.
  const next = items.values();
  const worker = async () => {
    try {
      for (const item of next) {
        throwIfCanceled(either);
        await work(item, either);
      }
    } catch (error) {
      // Of those that follow the first one is the reason.
      failure.abort(error);
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, items.length) }, worker));
  if (failure.signal.aborted) throw failure.signal.reason;
}
