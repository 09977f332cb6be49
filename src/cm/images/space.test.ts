import { beforeEach, expect, test } from 'vitest';
import { isAosError } from '../../core/index.ts';
import { SpaceKeeper } from './space.ts';

const MIB = 1024 * 1024;
/** What is kept free for the daemon's own state. */
const RESERVE = 16 * MIB;

let free: number;
let evictions: number[];
let space: SpaceKeeper;

beforeEach(() => {
  free = RESERVE + 100 * MIB;
  evictions = [];
  const disk = { freeBytes: async () => free, deviceOf: async () => 1 };
  space = new SpaceKeeper(disk, async () => {
    const freed = evictions.shift();
    free += freed ?? 0;
    return freed !== undefined;
  });
});

const refused = (error: unknown) => isAosError(error, 'noMemory');

test('[CM-51] what is promised to one is not promised to another, until it is given back', async () => {
  const first = await space.reserve('/x', 60 * MIB);
  await expect(space.reserve('/x', 60 * MIB)).rejects.toSatisfy(refused);
  first.giveBack();
  first.giveBack();
  await space.reserve('/x', 60 * MIB);
  await expect(space.reserve('/x', 60 * MIB)).rejects.toSatisfy(refused);
});

test('[CM-51] bytes that are written count once: as used, and not as promised any more', async () => {
  const first = await space.reserve('/x', 80 * MIB);
  free -= 70 * MIB;
  first.shrinkTo(10 * MIB);
  const second = await space.reserve('/x', 20 * MIB);
  await expect(space.reserve('/x', 1)).rejects.toSatisfy(refused);
  // A download that begins anew finds its former bytes in the way, and does not ask for more.
  first.shrinkTo(80 * MIB);
  second.giveBack();
  await space.reserve('/x', 20 * MIB);
});

test('[CM-51] outdated items give way, as many as are needed', async () => {
  evictions = [10 * MIB, 10 * MIB, 10 * MIB];
  await space.reserve('/x', 115 * MIB);
  expect(evictions).toEqual([10 * MIB]);
});
