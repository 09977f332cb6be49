import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { minutesOf, STORIES, slownessOf, storiesThatFit } from './story-time.ts';

const ROOT = join(import.meta.dirname, '..');

test('each story in a virtual machine has its time', () => {
  const files = readdirSync(join(ROOT, 'test', 'vm', 'stories')).map((name) => name.replace('.test.ts', ''));
  expect(STORIES.map(({ name }) => name).toSorted()).toEqual(files.toSorted());
});

test('a machine that rests has time for all of them, one that is twice as slow for the most important ones', () => {
  expect(storiesThatFit(45, slownessOf(25)).left).toEqual([]);
  const slow = storiesThatFit(25, slownessOf(50));
  expect(slow.chosen.map(({ name }) => name)).toEqual(expect.arrayContaining(['package', 'unit']));
  expect(slow.left.map(({ name }) => name)).toContain('firmware');
  expect(storiesThatFit(0, 1).chosen).toEqual([]);
});

test('what is chosen fits, and nothing that is left would', () => {
  const story = fc.record({ name: fc.string(), minutes: fc.integer({ min: 1, max: 40 }) });
  fc.assert(
    fc.property(
      fc.array(story, { maxLength: 12 }),
      fc.double({ min: 0, max: 120, noNaN: true }),
      fc.double({ min: 1, max: 4, noNaN: true }),
      (stories, leftMinutes, slowness) => {
        const { chosen, left } = storiesThatFit(leftMinutes, slowness, stories);
        expect(chosen.length + left.length).toBe(stories.length);
        if (chosen.length > 0) expect(minutesOf(chosen, slowness)).toBeLessThanOrEqual(leftMinutes);
        for (const one of left) expect(minutesOf([...chosen, one], slowness)).toBeGreaterThan(leftMinutes);
      },
    ),
  );
});
