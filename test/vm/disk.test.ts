import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Disk, SECTOR_BYTES } from './disk.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'aos-disk-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const SECTORS = 8;
const SIZE = SECTORS * SECTOR_BYTES;

function blankDisk(cacheBytes?: number): Disk {
  const path = join(directory, 'disk');
  writeFileSync(path, Buffer.alloc(SIZE));
  return new Disk(path, cacheBytes === undefined ? {} : { cacheBytes });
}

const sector = (value: number, count = 1) => Buffer.alloc(count * SECTOR_BYTES, value);
const survivesAll = () => 0.99;
const losesAll = () => 0;

test('a flushed write survives every power cut', () => {
  const disk = blankDisk();
  disk.write(0, sector(1));
  disk.flush();
  disk.cutPower(losesAll);
  expect(disk.read(0, SECTOR_BYTES)).toEqual(sector(1));
  disk.close();
});

test('a write that was not flushed may be lost, and may survive', () => {
  const disk = blankDisk();
  disk.write(0, sector(1));
  expect(disk.cutPower(losesAll)).toEqual({ unflushed: 1, stored: 0, torn: 0 });
  expect(disk.read(0, SECTOR_BYTES)).toEqual(sector(0));
  disk.write(0, sector(2));
  expect(disk.cutPower(survivesAll)).toEqual({ unflushed: 1, stored: 1, torn: 0 });
  expect(disk.read(0, SECTOR_BYTES)).toEqual(sector(2));
  disk.close();
});

test('a forced write is durable although its neighbours are not', () => {
  const disk = blankDisk();
  disk.write(SECTOR_BYTES, sector(1));
  disk.write(0, sector(2), true);
  disk.cutPower(losesAll);
  expect(disk.read(0, 2 * SECTOR_BYTES)).toEqual(Buffer.concat([sector(2), sector(0)]));
  disk.close();
});

test('a full cache stores the oldest writes unasked', () => {
  const disk = blankDisk(2 * SECTOR_BYTES);
  for (let value = 0; value < 4; value += 1) disk.write(value * SECTOR_BYTES, sector(value + 1));
  disk.cutPower(losesAll);
  expect(disk.read(0, 4 * SECTOR_BYTES)).toEqual(Buffer.concat([sector(1), sector(2), sector(0, 2)]));
  disk.close();
});

test('an access past the end is refused', () => {
  const disk = blankDisk();
  expect(() => disk.write(SIZE, sector(1))).toThrow(RangeError);
  expect(() => disk.read(SIZE - 1, SECTOR_BYTES)).toThrow(RangeError);
  disk.close();
});

const operation = fc.oneof(
  fc.record({
    at: fc.nat(SECTORS - 1),
    sectors: fc.integer({ min: 1, max: 3 }),
    force: fc.boolean(),
  }),
  fc.constant('flush' as const),
);

test('after a power cut each sector holds its durable content or one of the later writes', () => {
  fc.assert(
    fc.property(
      fc.array(operation, { maxLength: 30 }),
      fc.array(fc.double({ min: 0, max: 0.999, noNaN: true })),
      (operations, dice) => {
        const disk = blankDisk();
        const possible = Array.from({ length: SECTORS }, () => new Set([0]));
        const current = Array.from({ length: SECTORS }, () => 0);
        operations.forEach((step, index) => {
          if (step === 'flush') {
            disk.flush();
            possible.forEach((values, at) => {
              values.clear();
              values.add(current[at]!);
            });
            return;
          }
          const count = Math.min(step.sectors, SECTORS - step.at);
          const value = index + 1;
          disk.write(step.at * SECTOR_BYTES, sector(value, count), step.force);
          for (let at = step.at; at < step.at + count; at += 1) {
            if (step.force) possible[at]!.clear();
            possible[at]!.add(value);
            current[at] = value;
          }
        });
        let throws = 0;
        disk.cutPower(() => dice[throws++ % Math.max(dice.length, 1)] ?? 0);
        for (let at = 0; at < SECTORS; at += 1) {
          expect(possible[at]).toContain(disk.read(at * SECTOR_BYTES, 1)[0]);
        }
        disk.close();
      },
    ),
    { numRuns: 200 },
  );
});
