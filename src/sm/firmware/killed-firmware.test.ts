/** A service manager that is killed at any step of an update of firmware: old or new runs, and what is wanted in the end. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { type DiskKind, FirmwareDisk } from './firmware-disk-for-tests.ts';

const PROGRAM = join(import.meta.dirname, 'update-for-tests.ts');

/** `<point> 2..4`: at these passages. */
function points(...lists: readonly string[]): string[] {
  return lists.flatMap((list) => {
    const [point = '', from, to = from] = list.split(/ |\.\./);
    if (from === undefined) return [point];
    return Array.from({ length: Number(to) - Number(from) + 1 }, (_, index) => `${point}#${Number(from) + index}`);
  });
}

/** The first boot: it is written, and asked to be tried. */
const WRITING: Record<DiskKind, string[]> = {
  efi: points(
    'sm.firmware.record.written 2',
    'sm.firmware.record.renamed 1..5',
    'platform.partitions.write',
    'platform.partitions.written',
    'platform.boot.next-written 1..2',
  ),
  uboot: points('platform.boot.uboot 1..3', 'platform.boot.uboot-written 3'),
  rootfs: points(
    'sm.firmware.image',
    'sm.firmware.image-renamed',
    'sm.firmware.record.renamed 1..3',
    'sm.firmware.mark.written',
    'sm.firmware.mark.renamed',
  ),
};
/** The second boot: the new version runs, is judged, and kept. */
const KEEPING: Record<DiskKind, string[]> = {
  efi: points(
    'platform.boot.order',
    'platform.boot.order-written',
    'sm.firmware.record.renamed 1..2',
    'sm.firmware.record-remove',
    'sm.firmware.record-removed',
    'platform.partitions.write',
    'platform.partitions.written',
  ),
  uboot: points('platform.boot.uboot', 'platform.boot.uboot-written'),
  rootfs: points('sm.firmware.record.renamed 1..2', 'sm.firmware.mark.renamed'),
};
/** The second boot: it is judged and no good. */
const LEAVING: Record<DiskKind, string[]> = {
  efi: points('sm.firmware.record.renamed 1..2', 'platform.boot.next-written'),
  uboot: points('platform.boot.uboot', 'platform.boot.uboot-written'),
  rootfs: points('sm.firmware.record.renamed 1..2', 'sm.firmware.mark.renamed'),
};
/** The third boot: what is left of it is done away with. */
const CLEANING: Record<DiskKind, string[]> = {
  efi: points('sm.firmware.record.renamed 1..2', 'platform.partitions.write', 'platform.partitions.written'),
  uboot: [],
  rootfs: points('sm.firmware.record.renamed 1..2', 'sm.firmware.mark-remove', 'sm.firmware.record-remove'),
};

let disk: FirmwareDisk;
const directories: string[] = [];
async function make(kind: DiskKind): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'aos-disk-'));
  directories.push(directory);
  disk = await FirmwareDisk.create(directory, kind);
}
afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true });
});

/** One boot in a process that ends at the point; the slot that ran is what it was. */
async function dieAt(point: string): Promise<void> {
  const before = await disk.runningDigest();
  const child = spawn(process.execPath, [PROGRAM, disk.directory, disk.kind, '2.0.0'], {
    env: { ...process.env, AOS_FAULT: point },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [, killedBy] = await once(child, 'close');
  expect(killedBy, `${point} was never passed`).toBe('SIGKILL');
  expect(await disk.runningDigest()).toBe(before);
  expect(['1.0.0', '2.0.0']).toContain((await disk.versions())[0]);
}

async function expectNothingLeft(): Promise<void> {
  const names = await readdir(disk.at('state'));
  expect(names.filter((name) => !/^(installed|pending|rejected)(_instance)?\.json$/.test(name))).toEqual([]);
}

const cases = (stage: Record<DiskKind, string[]>) =>
  (['efi', 'uboot', 'rootfs'] as const).flatMap((kind) => stage[kind].map((point) => [kind, point] as const));

describe('killed', () => {
  test.each(cases(WRITING))('[SM-44] [SM-45] [R-01] [X-11] %s: at %s while it is written', async (kind, point) => {
    await make(kind);
    await dieAt(point);
    await expectNew();
  });

  test.each(cases(KEEPING))('[SM-44] [SM-45] [R-01] [X-11] %s: at %s while it is kept', async (kind, point) => {
    await make(kind);
    await disk.run(await disk.component('2.0.0'));
    await disk.boot();
    await dieAt(point);
    await expectNew();
  });

  test.each(cases(LEAVING))('[SM-44] [SM-45] [R-01] [W7] %s: at %s while it is left', async (kind, point) => {
    await make(kind);
    await disk.run(await disk.component('2.0.0'));
    await writeFile(disk.at('sick'), '');
    await disk.boot();
    await dieAt(point);
    await expectOld();
  });

  test.each(cases(CLEANING))('[SM-44] [SM-45] [R-01] [W7] %s: at %s after it was left', async (kind, point) => {
    await make(kind);
    const wanted = await disk.component('2.0.0');
    await disk.run(wanted);
    await writeFile(disk.at('sick'), '');
    await disk.boot();
    await disk.run(wanted);
    await disk.boot();
    await dieAt(point);
    await expectOld();
  });

  async function expectNew(): Promise<void> {
    const told = await disk.untilRest(await disk.component('2.0.0'));
    expect(told).toMatchObject({ state: 'active' });
    expect(new Set(await disk.versions())).toEqual(new Set(['2.0.0']));
    await expectNothingLeft();
  }

  async function expectOld(): Promise<void> {
    const told = await disk.untilRest(await disk.component('2.0.0'));
    expect(told).toMatchObject({ state: 'failed', because: 'health check: aos-sm.service is failed' });
    expect(new Set(await disk.versions())).toEqual(new Set(['1.0.0']));
    await expectNothingLeft();
  }
});
