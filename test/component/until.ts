/** Waiting for what comes about by itself. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Generous: machines that test are busy. */
const PATIENCE_MS = 60_000;

/** Asks again until the answer is accepted; a failing question counts as not yet. */
export async function until<T>(
  what: string,
  ask: () => Promise<T> | T,
  accept: (value: T) => boolean,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + patienceMs;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      const value = await ask();
      if (accept(value)) return value;
      last = value;
    } catch (error) {
      last = error instanceof Error ? error.message : error;
    }
    await sleep(50);
  }
  throw new Error(`it never came about that ${what}; the last answer was ${JSON.stringify(last)}`);
}
