/** Partitions: files, loop devices where the host has them, and the one in memory. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { readGuid } from '../boot/efi-format.ts';
import { FakePartition } from './fake-partition.ts';
import { gptDisk } from './gpt-for-tests.ts';
import { HostPartition } from './host-partition.ts';
import { deviceNames, findDevice, parseExport, partitionPlace } from './locate.ts';
import { partitionSuite, SUITE_BYTES } from './partition.suite.ts';
import { watchDevices } from './watch-devices.ts';

const isRoot = process.getuid?.() === 0;
const signal = new AbortController().signal;

partitionSuite('FakePartition', async () => ({
  partition: new FakePartition('slot', Buffer.alloc(SUITE_BYTES)),
  close: () => undefined,
}));

/** A file of the size, with a file system when asked. */
async function makeFile(directory: string, name = 'slot'): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, '');
  await truncate(path, SUITE_BYTES);
  return path;
}

partitionSuite('HostPartition of a file', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'aos-slot-'));
  return {
    partition: new HostPartition(await makeFile(directory), join(directory, 'mnt')),
    close: () => rm(directory, { recursive: true, force: true }),
  };
});

const attach = (path: string): string =>
  execFileSync('losetup', ['--find', '--show', path], { encoding: 'utf8' }).trim();
const hasLoop = isRoot && canAttach();

function canAttach(): boolean {
  try {
    execFileSync('losetup', ['--find'], { stdio: 'pipe' });
    return true;
  } catch {
    return false;
  }
}

if (hasLoop) {
  partitionSuite('HostPartition of a loop device', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'aos-slot-'));
    const device = attach(await makeFile(directory));
    return {
      partition: new HostPartition(device, join(directory, 'mnt')),
      close: async () => {
        execFileSync('losetup', ['--detach', device]);
        await rm(directory, { recursive: true, force: true });
      },
    };
  });
}

describe.runIf(hasLoop)('the file system of a partition', () => {
  let directory: string;
  let path: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'aos-slot-'));
    await mkdir(join(directory, 'files', 'aos'), { recursive: true });
    await writeFile(join(directory, 'files', 'aos', 'version'), 'VERSION = "1.2.3"\n');
    path = await makeFile(directory);
    execFileSync('mkfs.ext4', ['-q', '-O', '^has_journal', '-d', join(directory, 'files'), path], { stdio: 'pipe' });
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  test('[SM-44] a file in it is read, and nothing stays mounted', async () => {
    const partition = new HostPartition(path, join(directory, 'mnt'));
    expect(await partition.readText('aos/version', signal)).toBe('VERSION = "1.2.3"\n');
    await expect(partition.readText('aos/missing', signal)).rejects.toMatchObject({ code: 'notFound' });
    expect(execFileSync('cat', ['/proc/self/mountinfo'], { encoding: 'utf8' })).not.toContain(directory);
  });

  test('[SM-44] what is no file system says so', async () => {
    const partition = new HostPartition(await makeFile(directory, 'empty'), join(directory, 'mnt'));
    await expect(partition.readText('aos/version', signal)).rejects.toThrow(/cannot look into .*empty/);
  });

  test('[SM-44] a partition that is mounted is not written', async () => {
    const device = attach(path);
    const mountPoint = join(directory, 'used');
    await mkdir(mountPoint);
    execFileSync('mount', ['-o', 'ro', device, mountPoint]);
    try {
      const partition = new HostPartition(device, join(directory, 'mnt'));
      expect(await partition.whyBusy()).toBe(`${device} is mounted at ${mountPoint}`);
      const written = partition.write(
        (async function* () {
          yield Buffer.from('x');
        })(),
        signal,
      );
      await expect(written).rejects.toMatchObject({ code: 'wrongState' });
    } finally {
      execFileSync('umount', [mountPoint]);
      execFileSync('losetup', ['--detach', device]);
    }
  });
});

describe('finding partitions', () => {
  test('[SM-44] full names stay, others follow the device of the root file system', () => {
    expect(deviceNames(['/dev/vda1', 'PARTLABEL=b'], '', 'quiet')).toEqual(['/dev/vda1', 'PARTLABEL=b']);
    expect(deviceNames(['1', '2'], 'auto', 'quiet root=/dev/mmcblk0p13 ro')).toEqual([
      '/dev/mmcblk0p1',
      '/dev/mmcblk0p2',
    ]);
    expect(deviceNames(['1', 'LABEL=b'], 'auto', 'root=/dev/vda3')).toEqual(['/dev/vda1', 'LABEL=b']);
    expect(() => deviceNames(['1', '2'], 'auto', 'root=PARTUUID=x')).toThrow(/found "PARTUUID=x"; name the partitions/);
    expect(() => deviceNames(['1', '2'], 'auto', 'quiet')).toThrow(/found nothing/);
  });

  test('[SM-44] what is not there is named', async () => {
    await expect(findDevice('/dev/no-such-slot', signal)).rejects.toThrow(/there is no partition \/dev\/no-such-slot/);
    await expect(findDevice('PARTLABEL=no such slot', signal)).rejects.toThrow(
      /no partition .* PARTLABEL=no such slot/,
    );
    await expect(new HostPartition('/dev/no-such-slot', '/nowhere').sizeBytes()).rejects.toMatchObject({
      code: 'notFound',
    });
  });

  test('[SM-44] blkid is understood', () => {
    const output = 'DEVNAME=/dev/vda1\nLABEL=boot\\ a\nPART_ENTRY_UUID=ABC\n\nBAD\n';
    expect([...parseExport(output)]).toEqual([
      ['DEVNAME', '/dev/vda1'],
      ['LABEL', 'boot a'],
      ['PART_ENTRY_UUID', 'ABC'],
    ]);
  });

  test.runIf(hasLoop)('[SM-44] a disk without a partition table has no slots', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'aos-slot-'));
    const device = attach(await makeFile(directory));
    try {
      await expect(partitionPlace(device, signal)).rejects.toThrow();
    } finally {
      execFileSync('losetup', ['--detach', device]);
      await rm(directory, { recursive: true, force: true });
    }
  });

  test.runIf(hasLoop)('[SM-44] partitions of a disk are found by their tags, with their places', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'aos-slot-'));
    const path = join(directory, 'disk');
    const guid = randomBytes(16);
    const label = `slot ${guid.toString('hex', 0, 4)}`;
    await writeFile(path, gptDisk(8192, [{ label, guid, startSector: 2048, sectors: 1024 }]));
    const device = attach(path);
    const slot = `${device}p1`;
    try {
      // Also for kernels that do not know this kind of table.
      execFileSync('partx', ['--add', device]);
      // Without udev nobody makes the node of a partition.
      if (!existsSync(slot)) {
        const numbers = await readFile(`/sys/class/block/${basename(slot)}/dev`, 'utf8');
        execFileSync('mknod', [slot, 'b', ...numbers.trim().split(':')]);
      }
      const place = await partitionPlace(slot, signal);
      expect(place).toEqual({ guid: readGuid(guid), number: 1, startSector: 2048, sectors: 1024 });
      expect(await new HostPartition(slot, join(directory, 'mnt')).sizeBytes()).toBe(1024 * 512);
      expect(await findDevice(`PARTUUID=${place.guid}`, signal)).toBe(slot);
      expect(await findDevice(`PARTLABEL=${label}`, signal)).toBe(slot);
    } finally {
      execFileSync('partx', ['--delete', device]);
      await rm(slot, { force: true });
      execFileSync('losetup', ['--detach', device]);
      await rm(directory, { recursive: true, force: true });
    }
  });
});

describe('devices that come and go', () => {
  test('[SM-44] one that comes, and one that goes, is told; what is written into one is not', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'aos-dev-'));
    await writeFile(join(directory, 'null'), '');
    const heard = vi.fn();
    const unwatch = watchDevices(heard, directory);
    try {
      await writeFile(join(directory, 'null'), 'a byte');
      await writeFile(join(directory, 'vdb1'), '');
      await vi.waitFor(() => expect(heard).toHaveBeenCalledTimes(1), 20_000);
      await rm(join(directory, 'vdb1'));
      await vi.waitFor(() => expect(heard).toHaveBeenCalledTimes(2), 20_000);
    } finally {
      unwatch();
      await rm(directory, { recursive: true, force: true });
    }
  });

  test('[SM-44] a host without such a directory has no events, and no error', () => {
    watchDevices(() => undefined, '/no/such/directory')();
  });
});
