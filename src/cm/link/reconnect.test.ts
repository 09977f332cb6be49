import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AosError } from '../../core/index.ts';
import { LINK } from '../numbers.ts';
import { RepeatLater } from './endpoints.ts';
import { Reconnect } from './reconnect.ts';

const failure = new AosError('failed', 'no');
const evenly = () => 0.5;

describe('[CM-09] the pause before the next attempt', () => {
  test('doubles from one second to ten minutes', () => {
    const reconnect = new Reconnect(LINK, evenly);
    const delays = Array.from({ length: 12 }, () => reconnect.afterFailure(failure) / 1000);
    expect(delays).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
  });

  test('is random by a fifth', () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), (chance) => {
        const delayMs = new Reconnect(LINK, () => chance).afterFailure(failure);
        expect(delayMs).toBeGreaterThanOrEqual(800);
        expect(delayMs).toBeLessThanOrEqual(1200);
      }),
    );
  });

  test('[CM-03] is as long as the cloud wants, up to the largest', () => {
    const reconnect = new Reconnect(LINK, evenly);
    expect(reconnect.afterFailure(new RepeatLater('later', 30_000))).toBe(30_000);
    expect(reconnect.afterFailure(new RepeatLater('later', 10))).toBe(2000);
    expect(reconnect.afterFailure(new RepeatLater('later', 3_600_000))).toBe(600_000);
  });

  test('[CM-03] begins with what the cloud wants as soon as it has said so, and grows from there', () => {
    const reconnect = new Reconnect(LINK, evenly);
    expect(reconnect.afterFailure(failure)).toBe(1000);
    // Its addresses do not work, or its sessions end soon.
    expect(reconnect.afterFailure(failure, 30_000)).toBe(30_000);
    expect(reconnect.afterFailure(failure, 30_000)).toBe(60_000);
    expect(reconnect.afterSession({ lastedMs: 10, renewed: false, firstMs: 30_000 })).toBe(120_000);
    expect(reconnect.afterFailure(failure, 5000), 'what has grown stays').toBe(240_000);
    expect(reconnect.afterFailure(failure, 3_600_000), 'nothing is longer than the largest').toBe(600_000);
  });

  test('begins again after a session that lasted, where the cloud wants it to', () => {
    const reconnect = new Reconnect(LINK, evenly);
    for (let count = 0; count < 8; count += 1) reconnect.afterFailure(failure);
    expect(reconnect.afterSession({ lastedMs: 60_000, renewed: false, firstMs: 5000 })).toBe(500);
    expect(reconnect.afterFailure(failure)).toBe(5000);
    expect(reconnect.afterSession({ lastedMs: 60_000, renewed: false, firstMs: 0 })).toBe(500);
    expect(reconnect.afterFailure(failure)).toBe(1000);
  });

  test('grows while sessions end soon, and is none after a renewal', () => {
    const reconnect = new Reconnect(LINK, evenly);
    const soon = { lastedMs: 59_999, renewed: false, firstMs: 0 };
    expect([reconnect.afterSession(soon), reconnect.afterSession(soon)]).toEqual([1000, 2000]);
    expect(reconnect.afterSession({ ...soon, renewed: true })).toBe(0);
  });
});
