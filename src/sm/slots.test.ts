import { expect, test } from 'vitest';
import { Slots } from './slots.ts';

const { signal } = new AbortController();

test('work that throws at once, by either way of taking a slot, has given it back', async () => {
  const slots = new Slots(1);
  const fail = () => {
    throw new Error('at once');
  };
  await expect(slots.useAtMost(60_000, fail, signal)).rejects.toThrow('at once');
  await expect(slots.use(fail, signal)).rejects.toThrow('at once');
  await expect(slots.use(async () => 'done', signal)).resolves.toBe('done');
});

test('work that takes longer than it may hold its slot goes on, and the next is begun beside it', async () => {
  const slots = new Slots(1);
  const { promise, resolve } = Promise.withResolvers<string>();
  const long = slots.useAtMost(1, () => promise, signal);
  await expect(slots.use(async () => 'next', signal)).resolves.toBe('next');
  resolve('long');
  await expect(long).resolves.toBe('long');
});
