import { describe, expect, test } from 'vitest';
import { Outbox } from './outbox.ts';

/** How many can be put in before one has to wait. */
async function room(outbox: Outbox<number>, sizeBytes: number): Promise<number> {
  for (let count = 1; count <= 1000; count += 1) {
    const put = outbox.put(count, sizeBytes).then(() => 'room');
    const full = new Promise((resolve) => setImmediate(resolve, 'full'));
    if ((await Promise.race([put, full])) === 'full') return count;
  }
  return Number.POSITIVE_INFINITY;
}

describe('messages on their way into a stream', () => {
  test.each([
    [10, 64],
    [100_000, 11],
    [1024 * 1024, 1],
  ])('[MP-11] of %i bytes each at most %i wait', async (sizeBytes, count) => {
    expect(await room(new Outbox(), sizeBytes)).toBe(count);
  });

  test('whoever waits goes on when one is taken, and when it is closed', async () => {
    const outbox = new Outbox<string>();
    const [large, next] = [outbox.put('large', 2_000_000), outbox.put('next', 1)];
    const values = outbox[Symbol.asyncIterator]();
    expect(await values.next()).toMatchObject({ value: 'large' });
    expect(await values.next()).toMatchObject({ value: 'next' });
    await large;
    await next;
    const closed = outbox.put('another', 2_000_000);
    outbox.close();
    await closed;
    await outbox.put('dropped', 1);
    expect(await values.next()).toMatchObject({ value: 'another' });
    expect(await values.next()).toMatchObject({ done: true });
  });
});
