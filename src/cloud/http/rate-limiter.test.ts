import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RateLimiter } from './rate-limiter.ts';

describe('RateLimiter', () => {
  test('a burst goes through, then one in each interval; others are not held up', () => {
    const limiter = new RateLimiter({ perSecond: 2, burst: 3 });
    expect([1, 2, 3].map(() => limiter.secondsToWait('greedy', 0))).toEqual([0, 0, 0]);
    expect(limiter.secondsToWait('greedy', 0)).toBe(1);
    expect(limiter.secondsToWait('modest', 0)).toBe(0);
    expect(limiter.secondsToWait('greedy', 499)).toBe(1);
    expect(limiter.secondsToWait('greedy', 500)).toBe(0);
    expect(limiter.secondsToWait('greedy', 500)).toBe(1);
  });

  test('whoever waits as long as was said is let in', () =>
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 50 }), (perSecond, burst) => {
        const limiter = new RateLimiter({ perSecond, burst });
        let wait = 0;
        for (let asked = 0; asked <= burst; asked += 1) wait = limiter.secondsToWait('caller', 0);
        expect(wait).toBeGreaterThan(0);
        expect(limiter.secondsToWait('caller', wait * 1000)).toBe(0);
      }),
    ));

  test('in a second pass at most the burst and what trickles in', () =>
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { maxLength: 200 }), (times) => {
        const limiter = new RateLimiter({ perSecond: 10, burst: 5 });
        const passed = [...times].sort((a, b) => a - b).filter((ms) => limiter.secondsToWait('caller', ms) === 0);
        expect(passed.length).toBeLessThanOrEqual(15);
      }),
    ));
});
