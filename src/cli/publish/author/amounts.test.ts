import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseSize, parseSpeed, splitCommand } from './amounts.ts';

test.each([
  [512, 512],
  ['64kB', 65_536],
  ['64 KiB', 65_536],
  ['1.5MB', 1_572_864],
  ['2GB', 2_147_483_648],
  ['10b', 10],
])('size %s is %i bytes', (text, bytes) => {
  expect(parseSize(text, 'x')).toBe(bytes);
});

test.each([
  ['32Kb', 32],
  ['1Mb', 1000],
  ['4KB', 32],
  [1000, 8],
  ['1b', 1],
])('speed %s is %i kbit/s', (text, kilobits) => {
  expect(parseSpeed(text, 'x')).toBe(kilobits);
});

test('what is no amount is refused with its place', () => {
  expect(() => parseSize('much', 'quotas.mem')).toThrow(/quotas\.mem: expected a size such as 64MB, found "much"/);
  expect(() => parseSpeed('-1', 'quotas.upload_speed')).toThrow(/quotas\.upload_speed/);
});

describe('splitCommand', () => {
  test.each([
    ['/opt/watch --every 5', ['/opt/watch', '--every', '5']],
    [`sh -c 'echo "a b"'`, ['sh', '-c', 'echo "a b"']],
    ['a "" b', ['a', '', 'b']],
    ['a\\ b c', ['a b', 'c']],
    ['', []],
    [
      ['as', 'it is'],
      ['as', 'it is'],
    ],
  ])('%j', (command, words) => {
    expect(splitCommand(command)).toEqual(words);
  });

  test('words in quotes come out as they went in', () => {
    fc.assert(
      fc.property(fc.array(fc.string().map((text) => text.replaceAll("'", ''))), (words) => {
        expect(splitCommand(words.map((word) => `'${word}'`).join(' '))).toEqual(words);
      }),
    );
  });

  test('a quote without end is refused', () => {
    expect(() => splitCommand("sh -c 'echo")).toThrow(/a quote that does not end/);
  });
});
