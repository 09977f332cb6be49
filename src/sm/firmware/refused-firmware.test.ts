/** Updates that must not be, on slots, variables and marks that are files: refused with the reason, and nothing was touched. */
import { execFileSync } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FirmwareDisk } from './firmware-disk-for-tests.ts';
import { type ComponentOptions, SLOT_BYTES } from './machine-for-tests.ts';

const isRoot = process.getuid?.() === 0;

let directory: string;
const mounts: string[] = [];
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-refused-'));
});
afterEach(async () => {
  for (const mount of mounts.splice(0)) execFileSync('umount', [mount]);
  await rm(directory, { recursive: true, force: true });
});

/** The update is refused with these words, and both slots are what they were. */
async function expectRefusal(disk: FirmwareDisk, version: string, because: RegExp, options?: ComponentOptions) {
  const before = await disk.digests();
  const { last, reboots } = await disk.run(await disk.component(version, options));
  expect(last).toMatchObject({ state: 'failed', because: expect.stringMatching(because) });
  expect(await disk.digests()).toEqual(before);
  expect(reboots).toBe(false);
}

describe.each(['efi', 'uboot'] as const)('slots with %s', (kind) => {
  test.each<[string, string, RegExp, ComponentOptions]>([
    ['too big', '2.0.0', /more than the 65536 bytes of the slot/, { content: Buffer.alloc(SLOT_BYTES + 1) }],
    ['of another digest', '2.0.0', /not that of its digest sha256:0000/, { digest: `sha256:${'0'.repeat(64)}` }],
    ['for another runtime', '2.0.0', /is of type "x", expected .*full.v1\+gzip/, { mediaType: 'x' }],
    ['lower', '0.9.0', /0.9.0 is lower than the committed 1.0.0; publish a higher one/, {}],
  ])('[SM-44] [W7] an image that is %s: no byte of either slot changes', async (_, version, because, options) => {
    const disk = await FirmwareDisk.create(directory, kind);
    await expectRefusal(disk, version, because, options);
    expect(await disk.untilRest(await disk.component('2.0.0'))).toMatchObject({ state: 'active' });
  });
});

/** The directory is a small file system of its own from now on, with what was in it. */
async function makeSmall(path: string, options: string): Promise<void> {
  await cp(path, `${path}-before`, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'small', path]);
  mounts.push(path);
  await cp(`${path}-before`, path, { recursive: true });
}

describe.runIf(isRoot)('what cannot be written', () => {
  test('[SM-44] EFI variables that are full', async () => {
    const disk = await FirmwareDisk.create(directory, 'efi');
    const files = (await readdir(disk.at('efi'))).length;
    await makeSmall(disk.at('efi'), `size=64k,nr_inodes=${files + 1}`);
    await expectRefusal(disk, '2.0.0', /EFI variables are full, BootNext was not written/);
  });

  test('[SM-44] EFI variables that are read-only', async () => {
    const disk = await FirmwareDisk.create(directory, 'efi');
    await makeSmall(disk.at('efi'), 'size=64k');
    execFileSync('mount', ['-o', 'remount,ro', disk.at('efi')]);
    await expectRefusal(disk, '2.0.0', /EFI variables are read-only, BootNext was not written/);
    execFileSync('mount', ['-o', 'remount,rw', disk.at('efi')]);
    expect(await disk.untilRest(await disk.component('2.0.0'))).toMatchObject({ state: 'active' });
  });

  test('[SM-45] a disk without room for the image of a root file system: no mark, and nothing of the image', async () => {
    const disk = await FirmwareDisk.create(directory, 'rootfs');
    await makeSmall(disk.at('state'), 'size=64k');
    const wanted = await disk.component('2.0.0', { content: Buffer.alloc(100_000) });
    const { last, reboots } = await disk.run(wanted);
    expect(last).toMatchObject({
      state: 'failed',
      because: expect.stringMatching(/cannot copy the image to .*state: ENOSPC/),
    });
    expect(await readdir(disk.at('state'))).toEqual(['installed_instance.json']);
    expect(reboots).toBe(false);
    expect(await disk.untilRest(await disk.component('2.0.0'))).toMatchObject({ state: 'active' });
  });
});

test('[SM-44] an environment of U-Boot that is read-only', async () => {
  const disk = await FirmwareDisk.create(directory, 'uboot');
  const setenv = await readFile(disk.at('uboot', 'fw_setenv'));
  await writeFile(disk.at('uboot', 'fw_setenv'), '#!/bin/sh\necho "Read-only file system" >&2\nexit 1\n');
  await expectRefusal(disk, '2.0.0', /U-Boot variable aos_boot_\w+ was not written: .*Read-only file system/);
  await writeFile(disk.at('uboot', 'fw_setenv'), setenv);
  expect(await disk.untilRest(await disk.component('2.0.0'))).toMatchObject({ state: 'active' });
});
