import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { AosError } from './error.ts';
import { allDone, eachOf } from './together.ts';

const never = new AbortController().signal;

describe('work that is done together', () => {
  test('is answered in its order', async () => {
    expect(await allDone([Promise.resolve(1), Promise.resolve('two'), undefined])).toEqual([1, 'two', undefined]);
  });

  test('fails when all of it has ended', async () => {
    let hasEnded = false;
    const slow = sleep(20).then(() => {
      hasEnded = true;
    });
    await expect(allDone([Promise.reject(new Error('broken')), slow])).rejects.toThrow('broken');
    expect(hasEnded).toBe(true);
  });
});

describe('the same work with each', () => {
  test('is done with all, with so many at a time', async () => {
    const done: number[] = [];
    let [active, most] = [0, 0];
    const work = async (item: number) => {
      active += 1;
      most = Math.max(most, active);
      await sleep(1);
      active -= 1;
      done.push(item);
    };
    await eachOf([1, 2, 3, 4, 5], 2, work, never);
    expect(done.toSorted()).toEqual([1, 2, 3, 4, 5]);
    expect(most).toBe(2);
  });

  test('ends with the first failure, which cancels the others, and begins nothing new', async () => {
    const begun: string[] = [];
    const work = async (item: string, signal: AbortSignal) => {
      begun.push(item);
      if (item === 'bad') throw new AosError('invalidChecksum', 'it is bad');
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('canceled'))));
    };
    await expect(eachOf(['good', 'bad', 'late'], 2, work, never)).rejects.toThrow('it is bad');
    expect(begun).toEqual(['good', 'bad']);
  });

  test('is canceled from outside', async () => {
    const outside = new AbortController();
    outside.abort();
    await expect(eachOf([1], 1, async () => undefined, outside.signal)).rejects.toMatchObject({ code: 'canceled' });
  });
});
