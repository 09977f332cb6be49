import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readState, stateChecksumOf } from './state-file.ts';

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
