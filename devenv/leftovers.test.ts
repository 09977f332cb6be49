import { execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startTimeOf } from './daemon-process.ts';
import { mountsInside, removeLeftovers } from './leftovers.ts';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-leftovers-'));
  await mkdir(join(directory, 'run', 'runtime'), { recursive: true });
});

afterEach(async () => {
  for (const path of mountsInside(directory)) execFileSync('umount', ['--lazy', path]);
  await rm(directory, { recursive: true, force: true });
});

test('mounts inside of the directory are given back, also those with odd names and on top of each other', async () => {
  const bundle = join(directory, 'run', 'runtime', 'some instance');
  await mkdir(bundle);
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', bundle]);
  await mkdir(join(bundle, 'rootfs'));
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(bundle, 'rootfs')]);
  expect(mountsInside(directory)).toEqual([join(bundle, 'rootfs'), bundle]);
  await removeLeftovers(directory);
  expect(mountsInside(directory)).toEqual([]);
});

test('the network namespace of an instance is removed, that of another unit is not', async () => {
  const ours = randomUUID();
  const others = randomUUID();
  for (const name of [ours, others]) execFileSync('ip', ['netns', 'add', name]);
  try {
    await mkdir(join(directory, 'run', 'runtime', ours));
    await removeLeftovers(directory);
    expect(existsSync(join('/run/netns', ours))).toBe(false);
    expect(existsSync(join('/run/netns', others))).toBe(true);
  } finally {
    for (const name of await readdir('/run/netns')) {
      if (name === ours || name === others) execFileSync('ip', ['netns', 'delete', name]);
    }
  }
});

test('a process that a pid file remembers is ended, one that merely has its pid by now is not', async () => {
  const start = () => spawn('sleep', ['1000'], { stdio: 'ignore' });
  const ours = start();
  const other = start();
  const pidFile = (name: string) => join(directory, 'run', `${name}.pid`);
  await writeFile(pidFile('aos-cm'), JSON.stringify({ pid: ours.pid, startTime: startTimeOf(ours.pid!) }));
  await writeFile(pidFile('aos-sm'), JSON.stringify({ pid: other.pid, startTime: '1' }));
  try {
    const gone = new Promise((resolve) => ours.once('exit', resolve));
    await removeLeftovers(directory);
    await gone;
    expect(startTimeOf(other.pid!)).toBeDefined();
  } finally {
    other.kill('SIGKILL');
  }
});

test('a monitor of a container that works for the directory is ended, an editor in it is not', async () => {
  const start = async (program: string) => {
    await copyFile('/bin/sleep', join(directory, program));
    execFileSync('chmod', ['+x', join(directory, program)]);
    return spawn(join(directory, program), ['1000'], { stdio: 'ignore', cwd: directory });
  };
  const monitor = await start('conmon');
  const editor = await start('editor');
  try {
    const gone = new Promise((resolve) => monitor.once('exit', resolve));
    await removeLeftovers(directory);
    await gone;
    expect(startTimeOf(editor.pid!)).toBeDefined();
  } finally {
    monitor.kill('SIGKILL');
    editor.kill('SIGKILL');
  }
});

test('doing it twice is the same as doing it once', async () => {
  await removeLeftovers(directory);
  await removeLeftovers(directory);
  expect(existsSync(join(directory, 'run'))).toBe(false);
});
