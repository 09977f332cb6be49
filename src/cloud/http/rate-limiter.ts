/** How much one caller may ask: as much as trickles into a bucket, and what has gathered in it. */

export interface RateLimit {
  readonly perSecond: number;
  /** Requests that may come at once after a pause. */
  readonly burst: number;
}

interface Bucket {
  readonly tokens: number;
  readonly atMs: number;
}

/** Callers that are remembered; one that is not has a full bucket. */
const MAX_CALLERS = 10_000;

/** The bucket after so many milliseconds. Pure. */
export function refill({ tokens, atMs }: Bucket, { perSecond, burst }: RateLimit, nowMs: number): Bucket {
  return { tokens: Math.min(burst, tokens + ((nowMs - atMs) / 1000) * perSecond), atMs: nowMs };
}

export class RateLimiter {
  readonly #limit: RateLimit;
  readonly #buckets = new Map<string, Bucket>();

  constructor(limit: RateLimit) {
    this.#limit = limit;
  }

  /** 0 when the caller may go on, else after how many seconds there is room again. */
  secondsToWait(caller: string, nowMs: number): number {
    const { burst, perSecond } = this.#limit;
    const { tokens } = refill(this.#buckets.get(caller) ?? { tokens: burst, atMs: nowMs }, this.#limit, nowMs);
    const isAllowed = tokens >= 1;
    // The last one is the one that asked last.
    this.#buckets.delete(caller);
    this.#buckets.set(caller, { tokens: isAllowed ? tokens - 1 : tokens, atMs: nowMs });
    if (this.#buckets.size > MAX_CALLERS) this.#buckets.delete(this.#buckets.keys().next().value!);
    return isAllowed ? 0 : Math.ceil((1 - tokens) / perSecond);
  }
}
