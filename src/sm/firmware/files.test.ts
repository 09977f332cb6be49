/** Records, marks, images and health checks on a real disk. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AosError, type Clock, digestOf, silentLogger } from '../../core/index.ts';
import { FakeUnits } from '../../platform/systemd/index.ts';
import { bootRecords } from './boot-records.ts';
import type { Pending } from './boot-state.ts';
import { defaultIdent, parseVersionFile } from './firmware-model.ts';
import { checkHealth } from './health.ts';
import { NODE } from './machine-for-tests.ts';
import { HostRootfsFiles } from './rootfs-files.ts';

const signal = new AbortController().signal;
const ident = { itemId: 'fw', subjectId: 'fleet', instance: 2, type: 'component', preinstalled: false } as const;
const component = { ident, version: '2.0.0', manifestDigest: 'sha256:2' };

let directory: string;
const at = (...names: string[]) => join(directory, ...names);
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-firmware-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const readJson = async (name: string) => JSON.parse(await readFile(at('state', name), 'utf8'));

describe('records of boot slots', () => {
  const pending: Pending = {
    component,
    slot: 1,
    phase: 'trying',
    attempts: 2,
    bootId: 'boot 1',
    image: { digest: 'sha256:image', size: 5 },
    isTried: true,
  };

  test('[SM-44] what was written is read, and has the members that every AosCore writes', async () => {
    const records = bootRecords(at('state'), silentLogger);
    expect(await records.installed.read()).toBeUndefined();
    const installed = { component, slot: 0, image: { digest: 'sha256:image', size: 5 }, isMirrored: false } as const;
    await records.installed.write(installed);
    await records.pending.write(pending);
    expect(await records.installed.read()).toEqual(installed);
    expect(await records.pending.read()).toEqual(pending);
    expect(await readJson('pending.json')).toMatchObject({
      ...{ itemId: 'fw', subjectId: 'fleet', instance: 2, manifestDigest: 'sha256:2', type: 'component' },
      ...{ version: '2.0.0', preinstalled: false, state: 'activating', partitionIndex: 1 },
    });
    expect((await stat(at('state', 'pending.json'))).mode & 0o777).toBe(0o600);
    await records.pending.remove();
    await records.pending.remove();
    expect(await records.pending.read()).toBeUndefined();
  });

  test('[SM-44] an error outlives the process', async () => {
    const records = bootRecords(at('state'), silentLogger);
    const error = { code: 'wrongState', exitCode: 3, message: 'no good' } as const;
    await records.pending.write({ ...pending, phase: 'returning', error });
    expect((await records.pending.read())?.error).toEqual(error);
    expect(await readJson('pending.json')).toMatchObject({ state: 'failed' });
  });

  test('[SM-44] records of another AosCore are understood, and of damaged ones nothing is believed', async () => {
    const records = bootRecords(directory, silentLogger);
    const common = {
      itemId: 'boot',
      subjectId: 'main',
      instance: 0,
      type: 'component',
      version: '1',
      preinstalled: true,
    };
    await writeFile(at('installed.json'), JSON.stringify({ ...common, state: 'active', partitionIndex: 1 }));
    expect(await records.installed.read()).toMatchObject({ slot: 1, isMirrored: true });
    await writeFile(at('pending.json'), JSON.stringify({ ...common, state: 'failed', partitionIndex: 0 }));
    expect(await records.pending.read()).toMatchObject({ phase: 'failed', slot: 0 });
    for (const text of ['', '{', '[]', '{"partitionIndex": 2}', JSON.stringify({ ...common, partitionIndex: 7 })]) {
      await writeFile(at('installed.json'), text);
      expect(await records.installed.read()).toBeUndefined();
    }
  });
});

describe('files of the root file system', () => {
  let files: HostRootfsFiles;
  beforeEach(() => {
    files = new HostRootfsFiles(at('state'), at('version'), silentLogger);
  });

  test('[SM-45] marks are files with these names, and texts that the initial RAM disk reads', async () => {
    expect(await files.marks()).toEqual(new Set());
    await files.putMark('do_update', 'incremental');
    await writeFile(at('state', 'updated'), '');
    expect(await files.marks()).toEqual(new Set(['updated', 'do_update']));
    expect(await readFile(at('state', 'do_update'), 'utf8')).toBe('incremental');
    await files.removeMark('do_update');
    await files.removeMark('do_update');
    expect(await files.marks()).toEqual(new Set(['updated']));
  });

  test('[SM-45] an image appears whole, or not at all', async () => {
    await writeFile(at('blob'), 'hsqs and more');
    const image = { path: at('blob'), digest: digestOf('hsqs and more'), mediaType: '' };
    await files.putImage(image, signal);
    await files.putImage(image, signal);
    expect(await readFile(at('state', 'image.squashfs'), 'utf8')).toBe('hsqs and more');
    await files.removeImages();
    expect(await readdir(at('state'))).toEqual([]);

    await expect(files.putImage({ ...image, digest: digestOf('other') }, signal)).rejects.toMatchObject({
      code: 'invalidChecksum',
    });
    await expect(files.putImage({ ...image, path: at('missing') }, signal)).rejects.toMatchObject({ code: 'notFound' });
    await expect(files.putImage(image, AbortSignal.abort())).rejects.toMatchObject({ code: 'canceled' });
    expect(await readdir(at('state'))).toEqual([]);
  });

  test('[SM-45] records keep how far it is and why it failed', async () => {
    const pending = { component, kind: 'incremental', phase: 'requested', attempts: 1, bootId: 'boot 1' } as const;
    await files.pending.write(pending);
    expect(await files.pending.read()).toEqual({ ...pending, error: undefined });
    const rejected = { component, error: { code: 'failed', exitCode: 0, message: 'no good' } } as const;
    await files.rejected.write(rejected);
    expect(await files.rejected.read()).toEqual(rejected);
    await files.installed.write(component);
    expect(await readJson('installed_instance.json')).toEqual({
      ...{ itemId: 'fw', subjectId: 'fleet', instance: 2, manifestDigest: 'sha256:2', type: 'component' },
      ...{ version: '2.0.0', preinstalled: false },
    });
  });

  test('[SM-45] the running version is that of its file', async () => {
    await expect(files.runningVersion()).rejects.toThrow(/cannot read the version file/);
    await writeFile(at('version'), 'VERSION="5.0.1"\nother\n');
    expect(await files.runningVersion()).toBe('5.0.1');
  });
});

test('[SM-44] [SM-45] a version file is read in all its forms, and refused by its own words', () => {
  for (const line of ['VERSION="1.2.3"', 'VERSION = "1.2.3"', "VERSION='1.2.3'", 'VERSION=1.2.3']) {
    expect(parseVersionFile(`${line}\nmore`, 'version')).toBe('1.2.3');
  }
  for (const text of ['', '\nVERSION="1"', 'VERSION=', 'VERSION=""', 'VERS="1"', 'VERSION="1" 2']) {
    expect(() => parseVersionFile(text, 'the file')).toThrow(
      /^the file: expected VERSION="…" in the first line, found/,
    );
  }
});

test('[SM-46] what came with the node is called like runtime and node type', () => {
  expect(defaultIdent('rootfs', NODE)).toEqual({
    ...{ itemId: 'rootfs', subjectId: 'main', instance: 0, type: 'component', preinstalled: true },
  });
});

describe('the health check', () => {
  const pauses: number[] = [];
  let units: FakeUnits;
  /** Something happens while it waits. */
  let meanwhile: () => void;
  const clock: Clock = {
    monotonicMs: () => 0,
    now: () => new Date(0),
    sleep: async (ms) => {
      pauses.push(ms);
      meanwhile();
    },
  };
  beforeEach(() => {
    pauses.length = 0;
    meanwhile = () => undefined;
    units = new FakeUnits();
    units.states.set('a', 'active').set('b', 'activating');
  });
  const check = (...services: string[]) => checkHealth({ units, services, clock }, signal);

  test('[SM-44] [SM-45] all active, or none to look at: good at once', async () => {
    await check();
    await check('a');
    expect(pauses).toEqual([]);
  });

  test('[SM-44] [SM-45] one that comes up in time is good', async () => {
    meanwhile = () => pauses.length === 3 && units.states.set('b', 'active');
    await check('a', 'b');
    expect(pauses).toEqual([10_000, 20_000, 40_000]);
  });

  test('[SM-44] [SM-45] one that never comes up is named after five looks', async () => {
    await expect(check('a', 'b')).rejects.toThrow('health check: b is activating');
    expect(pauses).toEqual([10_000, 20_000, 40_000, 60_000]);
    units.states.set('b', new AosError('runtime', 'no bus'));
    await expect(check('b')).rejects.toThrow('health check: b: no bus');
  });

  test('[SM-44] [SM-45] one that failed ends it at once', async () => {
    units.states.set('b', 'failed');
    await expect(check('missing', 'b')).rejects.toThrow('health check: b is failed');
    expect(pauses).toEqual([]);
  });
});
