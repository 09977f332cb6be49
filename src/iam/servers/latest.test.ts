import { expect, test } from 'vitest';
import { Latest } from './latest.ts';

async function take<T>(values: AsyncIterableIterator<T>, count: number): Promise<T[]> {
  const taken: T[] = [];
  while (taken.length < count) taken.push((await values.next()).value as T);
  return taken;
}

test('[IAM-24] a slow subscriber gets the last value of each key, in the order of the last changes', async () => {
  const latest = new Latest<string>();
  const values = latest.subscribe(new AbortController().signal);
  latest.publish('a1', 'a');
  latest.publish('b1', 'b');
  latest.publish('a2', 'a');
  expect(await take(values, 2)).toEqual(['b1', 'a2']);
});

test('who comes late gets the last value, if there was one', async () => {
  const latest = new Latest<number>();
  latest.publish(1);
  latest.publish(2);
  expect(await take(latest.subscribe(new AbortController().signal), 1)).toEqual([2]);
});

test('it ends without an error when the stream is ended, and leaves nothing behind', async () => {
  const latest = new Latest<number>();
  const abort = new AbortController();
  const values = latest.subscribe(abort.signal);
  const next = values.next();
  expect(latest.subscriberCount).toBe(1);
  abort.abort();
  expect(await next).toEqual({ done: true, value: undefined });
  expect(latest.subscriberCount).toBe(0);
});

test('there is room for 256 followers', () => {
  const latest = new Latest<number>();
  const { signal } = new AbortController();
  for (let count = 0; count < 256; count += 1) latest.subscribe(signal);
  expect(() => latest.subscribe(signal)).toThrow(expect.objectContaining({ code: 'noMemory' }));
});
