/** How starts are cut into parts. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { growingParts } from './growing-parts.ts';

const sizesOf = (count: number) =>
  growingParts(Array.from({ length: count }, (_, index) => index)).map((part) => part.length);

test.each([
  [0, []],
  [1, [1]],
  [15, [15]],
  [16, [8, 8]],
  [20, [8, 12]],
  [100, [8, 24, 68]],
  [250, [8, 24, 72, 146]],
])('[B-01] %i instances are started in parts of %j', (count, sizes) => {
  expect(sizesOf(count)).toEqual(sizes);
});

test('[B-01] everyone is in one part, in the order of before', () =>
  fc.assert(
    fc.property(fc.array(fc.integer(), { maxLength: 1000 }), (all) => {
      const parts = growingParts(all);
      expect(parts.flat()).toEqual(all);
      expect(parts.every((part) => part.length > 0)).toBe(true);
    }),
  ));
