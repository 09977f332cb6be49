import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isOnItsWay, readState, stateChecksumOf } from './state-file.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-state-file-'));
});

afterEach(() => rm(directory, { recursive: true, force: true }));

const path = () => join(directory, 'state.dat');

test.each([0, 1, 15, 16])('[CM-106] a state of %i bytes is within a limit of 16', async (bytes) => {
  const text = 'x'.repeat(bytes);
  await writeFile(path(), text);
  expect(await readState(path(), 16)).toEqual({ text, bytes, checksum: stateChecksumOf(text) });
});

test('[CM-106] a state of a terabyte is refused by its size, without a look at its content', async () => {
  await writeFile(path(), '');
  await truncate(path(), 2 ** 40);
  await expect(readState(path(), 16)).rejects.toThrow(`the state has ${2 ** 40} bytes, more than its limit of 16`);
});

test('[CM-106] a state that is longer than its size said is read to its limit and no further', async () => {
  // A file of the kernel says 0 bytes and gives more, as a file does that grows after its size was asked for.
  await expect(readState('/proc/cpuinfo', 16)).rejects.toThrow('the state grows, and has more than its limit of 16');
  const { bytes } = await readState('/proc/cpuinfo', 2 ** 20);
  expect(bytes).toBeGreaterThan(16);
});

describe('a write that was interrupted', () => {
  const pages = (text: string) => Buffer.concat([...text].map((page) => Buffer.alloc(4096, page)));

  test.each([
    ['the former content', 'aaa', 'aaa', 'bb'],
    ['the next content', 'bb', 'aaa', 'bb'],
    ['the next content, not cut yet', 'bba', 'aaa', 'bb'],
    ['its first page', 'baa', 'aaa', 'bb'],
    ['a later page, after a loss of power', 'aba', 'aaa', 'bb'],
    ['a longer content, half of it', 'bba', 'aa', 'bbab'],
    ['the next content without a former one', 'bb', undefined, 'bb'],
  ])('[CM-105] leaves %s', (_, present, former, next) => {
    expect(isOnItsWay(pages(present), former === undefined ? undefined : pages(former), pages(next))).toBe(true);
  });

  test.each([
    ['another content', 'c', 'a', 'b'],
    ['another page', 'bca', 'aaa', 'bbb'],
    ['the former content that goes on', 'aac', 'aa', 'bbb'],
    ['the former content, cut', 'a', 'aaa', 'bbb'],
    ['nothing', '', 'aaa', 'bbb'],
    ['another content without a former one', 'a', undefined, 'b'],
  ])('[CM-104] never leaves %s', (_, present, former, next) => {
    expect(isOnItsWay(pages(present), former === undefined ? undefined : pages(former), pages(next))).toBe(false);
  });

  test.each([
    ['29', '19', '20'],
    ['10', '9', '100'],
    ['10', '', '100'],
  ])('[CM-104] no mixture within a page is taken for one: %s between %s and %s', (present, former, next) => {
    expect(isOnItsWay(Buffer.from(present), Buffer.from(former), Buffer.from(next))).toBe(false);
  });
});
