import { expect, test } from 'vitest';
import { isAosError } from '../../core/index.ts';
import { type Partition, Space } from './space.ts';

const MIB = 1024 * 1024;

function make(partition: Partition, evictable: number[] = [], limitPercent = 0) {
  const state = { ...partition, evictions: 0, used: 0 };
  const space = new Space({
    directory: '/images',
    limitPercent,
    usedBytes: async () => state.used,
    evict: async () => {
      const bytes = evictable.shift();
      if (bytes === undefined) return false;
      state.freeBytes += bytes;
      state.used -= bytes;
      state.evictions += 1;
      return true;
    },
    readPartition: async () => state,
  });
  return { space, state };
}

test('[SM-09] items are evicted one by one until there is enough, not more', async () => {
  const { space, state } = make({ totalBytes: 1000 * MIB, freeBytes: 20 * MIB }, [10 * MIB, 10 * MIB, 10 * MIB]);
  await space.reserve(20 * MIB);
  expect(state.evictions).toBe(2);
});

test('[SM-09] [R-02] too little space is an error that says how much, and the reserve for own state stays', async () => {
  const { space } = make({ totalBytes: 1000 * MIB, freeBytes: 20 * MIB });
  await expect(space.reserve(5 * MIB)).rejects.toSatisfy(
    (error) => isAosError(error, 'noMemory') && error.message.includes(`${MIB} are missing`),
  );
  await space.reserve(4 * MIB);
});

test('[SM-09] two at the same time do not get the same bytes; what is given back can be had again', async () => {
  const { space, state } = make({ totalBytes: 1000 * MIB, freeBytes: 116 * MIB });
  const [first, second] = await Promise.allSettled([space.reserve(60 * MIB), space.reserve(60 * MIB)]);
  expect([first.status, second.status]).toEqual(['fulfilled', 'rejected']);
  if (first.status !== 'fulfilled') return;
  // Written bytes count once: as used on the disk, not as reserved as well.
  first.value.used(50 * MIB);
  state.freeBytes -= 50 * MIB;
  await (await space.reserve(40 * MIB)).resize(0);
  first.value.release();
  await space.reserve(50 * MIB);
});

test('[SM-09] a limit in percent holds also when the partition has space', async () => {
  const { space, state } = make({ totalBytes: 1000 * MIB, freeBytes: 900 * MIB }, [30 * MIB], 10);
  state.used = 90 * MIB;
  await space.reserve(20 * MIB);
  expect(state.evictions).toBe(1);
  await expect(space.reserve(100 * MIB)).rejects.toSatisfy((error) => isAosError(error, 'noMemory'));
});
