import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readStateFile, writeStateFile } from './state-file.ts';

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'iam-state-'));
  path = join(directory, '.provisionstate');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

test('[IAM-28] [IAM-31] the word alone, without a newline; no file for unprovisioned', async () => {
  expect(await readStateFile(path)).toEqual({ state: 'unprovisioned' });
  await writeStateFile(path, 'provisioned');
  expect(await readFile(path, 'utf8')).toBe('provisioned');
  await writeStateFile(path, 'paused');
  expect(await readStateFile(path)).toEqual({ state: 'paused' });
  await writeStateFile(path, 'unprovisioned');
  expect(existsSync(path)).toBe(false);
  await writeStateFile(path, 'unprovisioned');
});

test.each([
  ['provisioned\n', 'provisioned'],
  ['paused\nanything', 'paused'],
  ['unprovisioned', 'unprovisioned'],
  ['error', 'error'],
  ['', 'error'],
  ['Provisioned', 'error'],
  [' paused', 'error'],
])('[IAM-38] a file that says %j means %s', async (text, state) => {
  await writeFile(path, text);
  const reading = await readStateFile(path);
  expect(reading.state).toBe(state);
  expect(reading.error === undefined).toBe(text.startsWith('error') || state !== 'error');
});

test('a directory that is missing is not found, and nothing is created', async () => {
  await expect(writeStateFile(join(directory, 'none', 'state'), 'paused')).rejects.toMatchObject({ code: 'ENOENT' });
});
