import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { AosError, silentLogger } from '../../core/index.ts';
import { TokenWatch } from './token-watch.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a token that is gone is told once, and not looked for again', () => {
  let gone = false;
  let looks = 0;
  const told: string[] = [];
  const watch = new TokenWatch({
    intervalMs: 1000,
    check: () => {
      looks += 1;
      if (gone) throw new AosError('notFound', 'the token is not there');
    },
    onLost: (reason) => told.push(reason),
    logger: silentLogger,
  });
  vi.advanceTimersByTime(3000);
  expect([looks, told]).toEqual([3, []]);
  gone = true;
  watch.look();
  vi.advanceTimersByTime(5000);
  watch.look();
  expect([looks, told]).toEqual([4, ['the token is not there']]);
  watch.stop();
});
