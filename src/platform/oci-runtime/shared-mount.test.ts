/** Mounts that other mount namespaces see. Needs root. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isShared, shareDirectory, unshareDirectory } from './shared-mount.ts';

let directory: string;
const mountinfo = () => readFileSync('/proc/self/mountinfo', 'utf8');

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-shared-'));
});

afterEach(async () => {
  const mounted = mountinfo()
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((path) => path.startsWith(directory));
  for (const path of mounted.reverse()) execFileSync('umount', ['--lazy', path]);
  await rm(directory, { recursive: true, force: true });
});

test('a directory shares its mounts once, and no more when nothing is mounted there', async () => {
  await shareDirectory(directory);
  const shared = mountinfo();
  expect(isShared(join(directory, 'below'), shared)).toBe(true);
  await shareDirectory(directory);
  expect(mountinfo()).toBe(shared);
  await unshareDirectory(directory);
  expect(mountinfo()).not.toContain(directory);
});

test('while something is mounted below, it stays', async () => {
  await shareDirectory(directory);
  const below = join(directory, 'below');
  mkdirSync(below);
  execFileSync('mount', ['-t', 'tmpfs', 'none', below]);
  await unshareDirectory(directory);
  expect(isShared(directory, mountinfo())).toBe(true);
});

test.each([
  ['/a/b', true, 'the mount around it shares'],
  ['/a', true, 'it is the mount'],
  ['/ab', false, 'a name that only begins alike'],
  ['/a/own/x', false, 'a mount of its own that does not share'],
  ['/elsewhere', false, 'the root does not share'],
])('%s: %s, as %s', (path, expected) => {
  const table = [
    '1 0 8:1 / / rw - ext4 /dev/vda rw',
    '2 1 0:2 / /a rw,nosuid shared:7 master:3 - tmpfs none rw',
    '3 2 0:3 / /a/own rw - tmpfs none rw',
  ].join('\n');
  expect(isShared(path, table)).toBe(expected);
});
