/** When slots that could not be used are worth another look: after a while, and when devices come or go. */
import type { Clock } from '../../core/index.ts';

/** Resolves when it is time for the look after so many in vain. Throws `canceled`. */
export type LookAgain = (tries: number, signal: AbortSignal) => Promise<void>;

export interface LookAgainParts {
  readonly clock: Clock;
  /** Calls when a device came or went, until the returned function is called. */
  readonly watchDevices: (listener: () => void) => () => void;
}

const FIRST_MS = 1_000;
const MAX_MS = 60_000;
/** Partitions of a disk come one after another, and their names after them. */
const SETTLE_MS = 1_000;

/** The pause doubles from 1 s up to 1 min. Pure. */
export function pauseMs(tries: number): number {
  return Math.min(FIRST_MS * 2 ** (tries - 1), MAX_MS);
}

export function whenToLookAgain({ clock, watchDevices }: LookAgainParts): LookAgain {
  return async (tries, signal) => {
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    const changed = Promise.withResolvers<void>();
    const unwatch = watchDevices(changed.resolve);
    try {
      await Promise.race([
        clock.sleep(pauseMs(tries), either),
        changed.promise.then(() => clock.sleep(SETTLE_MS, either)),
      ]);
    } finally {
      over.abort();
      unwatch();
    }
  };
}
