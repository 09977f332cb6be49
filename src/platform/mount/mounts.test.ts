import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstat, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { isAosError } from '../../core/index.ts';
import { FakeMounts } from './fake-mounts.ts';
import { fstabLine, overlayOptions, parseMountInfo, readOnlyBind } from './host-mount.ts';
import { mountSuite } from './mounts.suite.ts';
import { HostMounts } from './mounts.ts';
import { makeFifos, makeOpaqueDirectories, makeWhiteOut } from './overlay-marks.ts';

const isRoot = process.getuid?.() === 0;
const signal = new AbortController().signal;

mountSuite('FakeMounts', () => new FakeMounts(), false);
if (isRoot) mountSuite('HostMounts', () => new HostMounts(), true);

test('paths that the kernel would cut in two are refused by name', () => {
  for (const sign of [':', ',', '\\', '"', '\n']) {
    expect(() => overlayOptions([`/a${sign}b`, '/c'])).toThrow(/cannot be a layer/);
  }
  expect(() => overlayOptions(Array.from({ length: 100 }, (_, index) => `/${'x'.repeat(60)}/${index}`))).toThrow(
    /use shorter directories/,
  );
});

test('a line of a table says the same after the kernel has listed it', () => {
  fc.assert(
    fc.property(fc.string({ minLength: 1 }), (name) => {
      fc.pre(!/[\n\0]/.test(name));
      const line = fstabLine(readOnlyBind(`/${name}`, '/source'));
      const [, target = ''] = line.split(' ');
      expect(parseMountInfo(`1 2 0:3 / ${target} ro - ext4 /dev/x rw`)[0]?.target).toBe(`/${name}`);
    }),
  );
});

test.skipIf(!isRoot)(
  '[R-07] what is to be mounted is written nowhere, where it would stay when we are killed',
  async () => {
    const work = await mkdtemp(join(tmpdir(), 'aos-unwritten-'));
    const mounts = new HostMounts();
    const [source, target] = [join(work, 'source'), join(work, 'target')];
    for (const directory of [source, target]) await mkdir(directory);
    vi.stubEnv('TMPDIR', join(work, 'nowhere'));
    try {
      expect(await mounts.mountAll([readOnlyBind(target, source)], signal)).toEqual([undefined]);
      expect(await mounts.unmountAll([target], signal)).toEqual([undefined]);
      expect((await readdir(work)).sort()).toEqual(['source', 'target']);
    } finally {
      vi.unstubAllEnvs();
      await rm(work, { recursive: true, force: true });
    }
  },
);

test.skipIf(!isRoot)('a busy mount is detached in the end', async () => {
  const work = await mkdtemp(join(tmpdir(), 'aos-busy-'));
  const mounts = new HostMounts();
  const target = join(work, 'target');
  await mkdir(target);
  await mounts.mountAll([readOnlyBind(target, tmpdir())], signal);
  const holder = spawn('sleep', ['60'], { cwd: target });
  try {
    await once(holder, 'spawn');
    expect(await mounts.unmountAll([target], signal)).toEqual([undefined]);
    expect(await mounts.listBelow(work)).toEqual([]);
  } finally {
    holder.kill('SIGKILL');
    await rm(work, { recursive: true, force: true });
  }
});

test.skipIf(!isRoot)('[SM-07] the marks hide what lies below them in a real overlay', async () => {
  const work = await mkdtemp(join(tmpdir(), 'aos-marks-'));
  const mounts = new HostMounts();
  const at = (path: string) => join(work, path);
  try {
    for (const directory of ['upper', 'lower/opaque', 'lower/kept', 'merged'])
      await mkdir(at(directory), { recursive: true });
    for (const file of ['lower/gone', 'lower/opaque/old', 'lower/kept/old']) await writeFile(at(file), '');
    await makeWhiteOut(at('upper/gone'), signal);
    const [opaque = ''] = await makeOpaqueDirectories(work, 1, signal);
    execFileSync('mv', [opaque, at('upper/opaque')]);
    await writeFile(at('upper/opaque/new'), '');
    await makeFifos([at('upper/pipe')], signal);
    const options = overlayOptions([at('upper'), at('lower')]);
    await mounts.mountAll([{ target: at('merged'), type: 'overlay', source: 'overlay', options }], signal);
    expect((await readdir(at('merged'))).sort()).toEqual(['kept', 'opaque', 'pipe']);
    expect(await readdir(at('merged/opaque'))).toEqual(['new']);
    expect((await lstat(at('merged/pipe'))).isFIFO()).toBe(true);
    expect((await readdir(work)).sort()).toEqual(['lower', 'merged', 'upper']);
  } finally {
    await mounts.unmountAll([at('merged')], signal);
    await rm(work, { recursive: true, force: true });
  }
});

test.skipIf(!isRoot)('a helper that refuses is quoted', async () => {
  const made = makeWhiteOut('/proc/nowhere/x', signal);
  await expect(made).rejects.toSatisfy(
    (error) => isAosError(error, 'runtime') && /mknod: exit=1: .*x/.test(error.message),
  );
});
