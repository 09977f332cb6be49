import { expect, test, vi } from 'vitest';
import { silentLogger } from '../core/index.ts';
import { memoryGiver } from './give-back-memory.ts';

const MANY_BYTES = 200 * 1024 * 1024;

test('memory is given back by what is loaded once, when the process has much', () => {
  let usedBytes = 50 * 1024 * 1024;
  const giveBackMemory = vi.fn();
  const load = vi.fn(() => ({ giveBackMemory }));
  const give = memoryGiver(load, () => usedBytes);
  give(silentLogger);
  expect(load).not.toHaveBeenCalled();
  usedBytes = MANY_BYTES;
  give(silentLogger);
  give(silentLogger);
  expect(load).toHaveBeenCalledTimes(1);
  expect(giveBackMemory).toHaveBeenCalledTimes(2);
});

test('a host where that cannot be done is left alone from then on', () => {
  const load = vi.fn(() => {
    throw new Error('no such function');
  });
  const give = memoryGiver(load, () => MANY_BYTES);
  give(silentLogger);
  give(silentLogger);
  expect(load).toHaveBeenCalledTimes(1);
});
