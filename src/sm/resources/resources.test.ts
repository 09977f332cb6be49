import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { findDevices, splitDeviceNumber } from './devices.ts';
import { groupIds, parseGroups } from './host-groups.ts';
import { loadNodeResources } from './node-resources.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-resources-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function load(content: unknown) {
  const path = join(directory, 'resources.cfg');
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
  return loadNodeResources(path, silentLogger);
}

describe('resources file', () => {
  test('[SM-32] names and share counts are told, an absent count means any number', async () => {
    const resources = await load([
      { name: 'can0', sharedCount: 2, groups: ['can'], devices: ['/dev/can0:/dev/can0'], envs: ['CAN_IF=can0'] },
      {
        Name: 'dbus',
        mounts: [{ destination: '/run/dbus', source: '/run/dbus', options: ['bind', 'ro'] }],
        hosts: [{ ip: '10.0.0.1', hostname: 'headunit.local' }],
      },
    ]);
    expect(resources.infos()).toEqual([
      { name: 'can0', sharedCount: 2 },
      { name: 'dbus', sharedCount: 0 },
    ]);
    expect(resources.find('dbus').mounts[0]!.type).toBe('bind');
    expect(resources.hosts(['can0', 'dbus'])).toEqual([{ ip: '10.0.0.1', name: 'headunit.local' }]);
  });

  test('a node without the file has no resources', async () => {
    const resources = await loadNodeResources(join(directory, 'missing'), silentLogger);
    expect(resources.infos()).toEqual([]);
    expect(() => resources.find('can0')).toThrow('this node has no resource "can0"');
  });

  test.each([
    ['{', 'is not JSON'],
    [{}, 'array'],
    [[{ sharedCount: 1 }], '[0].name'],
    [[{ name: 'a', devices: ['dev/x'] }], 'expected an absolute path'],
    [[{ name: 'a', envs: ['X'] }], 'expected NAME=value'],
    [[{ name: 'a', mounts: [{ destination: 'x' }] }], 'expected an absolute path'],
    [[{ name: 'a' }, { name: 'a' }], 'expected names that differ'],
  ])('%j is refused: %s', async (content, words) => {
    await expect(load(content)).rejects.toThrow(words);
  });
});

describe('groups', () => {
  test('[SM-31] are looked up by name, each once', async () => {
    const path = join(directory, 'group');
    await writeFile(path, 'root:x:0:\ncan:x:44:me,you\nbad\nvideo:x:45:\n');
    expect(await groupIds(['video', 'can', 'video'], path)).toEqual([45, 44]);
    await expect(groupIds(['audio'], path)).rejects.toThrow('this node has no group "audio"');
    expect(parseGroups('x:y\n:x:1:\n').size).toBe(0);
  });
});

describe('devices', () => {
  test('[SM-31] a node of the host, under its own name or another one', async () => {
    const zero = { type: 'c', major: 1, minor: 5, fileMode: 0o666, uid: 0, gid: 0 };
    expect(await findDevices('/dev/zero')).toMatchObject([{ ...zero, path: '/dev/zero' }]);
    expect(await findDevices('/dev/zero:/dev/mine:rwm')).toMatchObject([{ ...zero, path: '/dev/mine' }]);
  });

  test('[SM-31] a directory stands for all nodes in and below it, also behind links, without running in circles', async () => {
    await mkdir(join(directory, 'sub'));
    execFileSync('mkfifo', [join(directory, 'sub', 'pipe')]);
    await symlink('/dev/zero', join(directory, 'link'));
    await symlink('..', join(directory, 'sub', 'circle'));
    await symlink('/nowhere', join(directory, 'dangling'));
    const devices = await findDevices(`${directory}:/dev/x`);
    expect(devices.map(({ path, type }) => [path, type])).toEqual([
      ['/dev/x/link', 'c'],
      ['/dev/x/sub/pipe', 'p'],
    ]);
  });

  test('what is missing or no device is refused by its path', async () => {
    await expect(findDevices('/dev/nothing-here')).rejects.toMatchObject({ code: 'notFound' });
    await expect(findDevices('/etc/hostname')).rejects.toThrow('/etc/hostname is no device');
  });

  test('numbers are taken apart as the kernel does', () => {
    expect(splitDeviceNumber(0x0afcn)).toEqual({ major: 10, minor: 252 });
    // Major 0x1234, minor 0x56789.
    const rdev = (0x234n << 8n) | (0x1n << 44n) | 0x89n | (0x567n << 20n);
    expect(splitDeviceNumber(rdev)).toEqual({ major: 0x1234, minor: 0x56789 });
  });
});
