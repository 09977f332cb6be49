/** Time for everything that waits. Durations never use the wall clock (spec/beyond.md R-03). */
import { setTimeout as timer } from 'node:timers/promises';
import { AosError } from './error.ts';

/** The two clocks of a host; tests have their own. */
export interface Clock {
  /** Milliseconds since some fixed moment; never jumps. */
  monotonicMs(): number;
  /** What the host believes the date is; may lie. */
  now(): Date;
  /** Waits; rejects with `canceled` when the signal aborts. */
  sleep(durationMs: number, signal: AbortSignal): Promise<void>;
}

/** The longest wait that a timer takes; a longer one it takes for none. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The clock of the host; waits of any length. */
export const systemClock: Clock = {
  monotonicMs: () => performance.now(),
  now: () => new Date(),
  sleep: async (durationMs, signal) => {
    try {
      for (let leftMs = durationMs; ; leftMs -= LONGEST_TIMER_MS) {
        await timer(Math.min(leftMs, LONGEST_TIMER_MS), undefined, { signal });
        if (leftMs <= LONGEST_TIMER_MS) return;
      }
    } catch (error) {
      throw new AosError('canceled', 'stopped while waiting', { cause: error });
    }
  },
};

/** Before this date, in milliseconds since 1970, a wall clock was never set and says nothing: 2024-01-01. */
export const PLAUSIBLE_DATE_MS = Date.UTC(2024, 0, 1);

/**
 * The date for ages of things that are removed when they are old, in milliseconds since 1970: what the host says, but no later
 * than what it said first plus the time since. So a date that is set ahead while we run makes nothing old (spec/product.md X-21).
 */
export function cautiousDate(clock: Clock): () => number {
  const aheadMs = clock.now().getTime() - clock.monotonicMs();
  return () => Math.min(clock.now().getTime(), clock.monotonicMs() + aheadMs);
}

export interface BackoffOptions {
  readonly firstMs: number;
  readonly maxMs: number;
  /** Part of the delay that is random, in both directions: 0.2 means ±20 %. */
  readonly jitter?: number;
  readonly random?: () => number;
}

/** Delays that double up to a cap. */
export class Backoff {
  readonly #options: BackoffOptions;
  #nextMs: number;

  constructor(options: BackoffOptions) {
    this.#options = options;
    this.#nextMs = options.firstMs;
  }

  /** The delay before the next try, in milliseconds. */
  next(): number {
    const { maxMs, jitter = 0, random = Math.random } = this.#options;
    const delayMs = Math.min(this.#nextMs, maxMs);
    this.#nextMs = Math.min(this.#nextMs * 2, maxMs);
    return delayMs * (1 + jitter * (2 * random() - 1));
  }

  /** Begins again, optionally with another first delay. */
  reset(firstMs = this.#options.firstMs): void {
    this.#nextMs = firstMs;
  }
}
