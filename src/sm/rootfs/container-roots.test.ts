/** Real roots of real images, as root; nothing of them stays. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { FakeMounts, HostMounts } from '../../platform/mount/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { BlobSource, busyboxEntries, type Entry, type ImageForTests } from '../images/images-for-tests.ts';
import { IMAGE_TABLES, ImageStore } from '../images/index.ts';
import type { InstalledItem, OciMount } from '../model.ts';
import { ContainerRoots } from './container-roots.ts';

const isRoot = process.getuid?.() === 0;
const signal = new AbortController().signal;
const network = { hosts: [{ ip: '127.0.0.1', name: 'localhost' }], dnsServers: ['10.0.0.100'], hostname: 'box' };

let work: string;
let source: BlobSource;
let closers: (() => Promise<void> | void)[];

beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), 'aos-roots-'));
  source = await BlobSource.create();
  closers = [];
});

afterEach(async () => {
  const mounts = new HostMounts();
  const left = (await mounts.listBelow(work)).map(({ target }) => target).reverse();
  await mounts.unmountAll(left, signal);
  for (const close of closers) await close();
  await source.close();
  await rm(work, { recursive: true, force: true });
});

async function install(image: ImageForTests, itemId = 'item'): Promise<InstalledItem> {
  const database = await openDatabase(join(work, `${itemId}.db`), [IMAGE_TABLES], silentLogger);
  const { blobUrls } = source;
  const store = await ImageStore.open({ imagePath: join(work, 'images'), database, blobUrls, logger: silentLogger });
  closers.push(async () => {
    await store.stop();
    database.close();
  });
  return store.install(await source.service(itemId, '1.0.0', image), signal);
}

/** A host with merged `/usr`. */
async function makeHost(): Promise<string> {
  const host = join(work, 'host');
  await mkdir(join(host, 'usr/bin'), { recursive: true });
  await mkdir(join(host, 'etc'), { recursive: true });
  await writeFile(join(host, 'usr/bin/host-tool'), 'host');
  await writeFile(join(host, 'etc/shadow'), 'secret');
  await symlink('usr/bin', join(host, 'bin'));
  return host;
}

async function bundle(id: string): Promise<string> {
  const dir = join(work, 'run', id);
  await mkdir(dir, { recursive: true });
  return dir;
}

const baseMounts: OciMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc', options: [] },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['mode=755'] },
  { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: [] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [] },
];

test.skipIf(!isRoot)('[SM-11] a root is the layers of the item over the skeleton of the node, read-only', async () => {
  const item = await install({ layers: [busyboxEntries()] });
  const roots = await ContainerRoots.open({ workingDir: work, hostBinds: [], hostRoot: await makeHost() });
  const bundleDir = await bundle('one');

  const root = await roots.prepare({ id: 'one', bundleDir, item, mounts: baseMounts, network }, signal);

  expect(root.path).toBe(join(bundleDir, 'rootfs'));
  expect(execFileSync('chroot', [root.path, '/bin/cat', '/etc/hostname'], { encoding: 'utf8' })).toBe('box\n');
  expect(readdirSync(root.path).sort()).toEqual(['bin', 'dev', 'etc', 'proc', 'sys', 'usr']);
  expect(readFileSync(join(root.path, 'etc/hosts'), 'utf8')).toBe('127.0.0.1\tlocalhost\n');
  expect(readFileSync(join(root.path, 'etc/resolv.conf'), 'utf8')).toBe('nameserver 10.0.0.100\n');
  expect(() => execFileSync('touch', [join(root.path, 'x')], { stdio: 'pipe' })).toThrow(/Read-only/);
  expect(root.mounts).toEqual([
    { destination: '/usr', type: 'bind', source: join(work, 'host/usr'), options: ['bind', 'ro', 'nosuid', 'nodev'] },
  ]);

  await roots.remove('one', bundleDir, signal);
  expect(readdirSync(bundleDir)).toEqual([]);
  expect(await new HostMounts().listBelow(work)).toEqual([]);
});

/** Mounts what a container runtime would mount of the node, and answers where. */
async function enter(image: ImageForTests, host: string, hostBinds: readonly string[] = [], mounts: OciMount[] = []) {
  const item = await install(image);
  const roots = await ContainerRoots.open({ workingDir: work, hostBinds, hostRoot: host });
  const bundleDir = await bundle('enter');
  const root = await roots.prepare({ id: 'enter', bundleDir, item, mounts, network }, signal);
  const outcomes = await new HostMounts().mountAll(
    root.mounts.map(({ destination, type, source: from, options }) => ({
      target: join(root.path, destination),
      type: type === 'bind' ? 'none' : type,
      source: from,
      options,
    })),
    signal,
  );
  expect(outcomes.filter((error) => error !== undefined)).toEqual([]);
  return {
    roots,
    bundleDir,
    mounts: root.mounts,
    list: (path: string) => readdirSync(join(root.path, path)).sort(),
    read: (path: string) => readFileSync(join(root.path, path), 'utf8'),
    has: (path: string) => existsSync(join(root.path, path)),
  };
}

// Roots are mounted, which needs root; ./dev test runs as root.
describe.skipIf(!isRoot)('what images and hosts rely on', () => {
  test('[SM-11] nothing of the host but the named directories can be seen', async () => {
    const root = await enter({ layers: [[{ name: 'app', content: 'app' }]] }, await makeHost());
    expect(root.list('/')).toEqual(['app', 'bin', 'etc', 'usr']);
    expect(root.has('etc/shadow')).toBe(false);
    expect(root.read('usr/bin/host-tool')).toBe('host');
  });

  test('[SM-11] an item of two layers has its first one on top, and the node below', async () => {
    const own: Entry[] = [
      { name: 'usr/bin/app', content: 'own' },
      { name: 'both', content: 'own' },
    ];
    const shared: Entry[] = [
      { name: 'usr/lib/shared', content: 'shared' },
      { name: 'both', content: 'shared' },
    ];
    const root = await enter({ layers: [own, shared] }, await makeHost());
    expect(root.read('both')).toBe('own');
    expect(root.list('usr/bin')).toEqual(['app', 'host-tool']);
    expect(root.list('usr')).toEqual(['bin', 'lib']);
  });

  const threeLayers: Entry[][] = [
    [
      { name: 'a', content: '1' },
      { name: 'gone', content: '1' },
      { name: 'dir/old', content: '1' },
    ],
    [{ name: 'a', content: '2' }, { name: '.wh.gone' }, { name: 'b', content: '2' }],
    [{ name: 'a', content: '3' }, { name: 'dir/.wh..wh..opq' }, { name: 'dir/new', content: '3' }],
  ];

  test('[SM-11] an image of a standard builder has its last layer on top, with everything removed that it removed', async () => {
    const history = threeLayers.map(() => ({ created_by: 'builder' }));
    const root = await enter({ layers: threeLayers, imageConfig: { history } }, await makeHost());
    expect([root.read('a'), root.read('b'), root.has('gone')]).toEqual(['3', '2', false]);
    expect(root.list('dir')).toEqual(['new']);
  });

  test('[SM-11] the item may say that its layers are in the order of OCI', async () => {
    const root = await enter({ layers: threeLayers, itemConfig: { layerOrder: 'oci' } }, await makeHost());
    expect([root.read('a'), root.has('gone')]).toEqual(['3', false]);
  });

  test('[SM-11] a complete image has nothing of the node underneath', async () => {
    const root = await enter(
      { layers: [[{ name: 'usr/bin/app', content: 'app' }]], itemConfig: { baseLayerIsNodeRootfs: false } },
      await makeHost(),
    );
    expect(root.mounts).toEqual([]);
    expect(root.list('/')).toEqual(['etc', 'usr']);
    expect(root.list('usr/bin')).toEqual(['app']);
  });

  test('[SM-11] a layer may remove a directory of the node, as a whole or below it', async () => {
    const removed = await enter({ layers: [[{ name: '.wh.usr' }, { name: 'app' }]] }, await makeHost());
    expect(removed.mounts).toEqual([]);
    expect(removed.has('usr')).toBe(false);
    await removed.roots.remove('enter', removed.bundleDir, signal).catch(() => undefined);
  });

  test('[SM-11] a layer may remove or replace what lies below a directory of the node', async () => {
    const host = await makeHost();
    await mkdir(join(host, 'usr/lib'));
    await writeFile(join(host, 'usr/lib/host-lib'), '');
    const layer: Entry[] = [
      { name: 'usr/bin/.wh.host-tool' },
      { name: 'usr/lib', type: 'symlink', linkname: 'other' },
      { name: 'usr/other/own-lib', content: 'own' },
    ];
    const root = await enter({ layers: [layer] }, host);
    expect(root.list('usr')).toEqual(['bin', 'lib', 'other']);
    expect(root.list('usr/bin')).toEqual([]);
    expect(root.list('usr/lib')).toEqual(['own-lib']);
  });

  test('[SM-11] a nested directory of the node is hidden by a link in its place', async () => {
    const host = await makeHost();
    await mkdir(join(host, 'usr/lib'));
    const layer: Entry[] = [{ name: 'usr/lib', type: 'symlink', linkname: 'other' }];
    const root = await enter({ layers: [layer] }, host, ['usr/lib', 'usr/bin']);
    expect(root.mounts.map(({ destination }) => destination)).toEqual(['/usr/bin']);
    expect(root.has('usr/lib')).toBe(false);
  });

  test('[SM-11] what hides nothing is not seen either', async () => {
    const layer: Entry[] = [
      { name: 'srv/.wh.gone' },
      { name: 'srv/kept' },
      { name: 'usr/own/.wh.gone' },
      { name: 'usr/own/kept' },
    ];
    const over = await enter({ layers: [layer] }, await makeHost());
    expect([over.list('srv'), over.list('usr/own'), over.list('usr')]).toEqual([['kept'], ['kept'], ['bin', 'own']]);
  });

  test('[SM-11] the lowest layer of a complete image may have marks of removal that hide nothing', async () => {
    const layer: Entry[] = [{ name: 'srv/.wh.gone' }, { name: 'srv/kept' }, { name: '.wh.top' }];
    const image = { layers: [layer], itemConfig: { baseLayerIsNodeRootfs: false } };
    const root = await enter(image, await makeHost());
    expect([root.list('/'), root.list('srv')]).toEqual([['etc', 'srv'], ['kept']]);
  });

  test('[SM-11] a layer that hides everything ends the stack', async () => {
    const layers: Entry[][] = [[{ name: '.wh..wh..opq' }, { name: 'only' }], [{ name: 'hidden' }]];
    const root = await enter({ layers }, await makeHost());
    expect(root.list('/')).toEqual(['etc', 'only']);
  });

  test('[SM-11] a host without merged /usr shows its directories one by one', async () => {
    const host = join(work, 'split');
    for (const path of ['bin', 'usr/bin', 'lib']) await mkdir(join(host, path), { recursive: true });
    await writeFile(join(host, 'bin/sh'), 'sh');
    const root = await enter({ layers: [[{ name: 'bin/own', content: 'own' }]] }, host);
    expect(root.mounts.map(({ destination, type }) => [destination, type])).toEqual([
      ['/bin', 'overlay'],
      ['/lib', 'bind'],
      ['/usr', 'bind'],
    ]);
    expect(root.list('bin')).toEqual(['own', 'sh']);
  });

  test('[SM-11] the host itself, on the file system of the layers, is usable below them', async () => {
    const root = await enter({ layers: [[{ name: 'usr/share/own', content: 'own' }]] }, '/');
    expect(root.read('usr/share/own')).toBe('own');
    expect(root.has('usr/bin/env')).toBe(true);
    expect(root.has('var')).toBe(false);
  });

  test('[SM-11] single files of the node, and what is mounted into its directories', async () => {
    const host = await makeHost();
    await mkdir(join(host, 'etc/ssl'), { recursive: true });
    await writeFile(join(host, 'etc/ld.so.cache'), 'cache');
    await writeFile(join(host, 'etc/nsswitch.conf'), 'hosts: files');
    const bind = (destination: string, from: string): OciMount => ({
      destination,
      type: 'bind',
      source: join(host, from),
      options: ['bind', 'ro'],
    });
    const root = await enter(
      { layers: [[{ name: 'etc/app.conf', content: 'app' }]] },
      host,
      ['usr', 'etc/ld.so.cache', 'etc/missing'],
      [
        bind('/etc/ssl', 'etc/ssl'),
        bind('/etc/nsswitch.conf', 'etc/nsswitch.conf'),
        bind('/usr/share/resource', 'etc/ssl'),
        bind('/absent', 'absent'),
      ],
    );
    expect(root.read('etc/ld.so.cache')).toBe('cache');
    expect(root.list('etc')).toEqual([
      'app.conf',
      'hostname',
      'hosts',
      'ld.so.cache',
      'nsswitch.conf',
      'resolv.conf',
      'ssl',
    ]);
    expect(root.list('usr')).toEqual(['bin', 'share']);
    expect(root.list('usr/share/resource')).toEqual([]);
    expect(root.has('absent')).toBe(false);
  });

  test('[R-11] everything that is mounted is read-only, without set-uid and devices', async () => {
    const root = await enter({ layers: [[{ name: 'usr/share/own' }]] }, await makeHost());
    const lines = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(work));
    expect(lines).toHaveLength(2);
    for (const line of lines) expect(line.split(' ')[5]).toMatch(/^ro,nosuid,nodev/);
    expect(root.mounts).toHaveLength(1);
  });
});

test.skipIf(!isRoot)('an item of 64 layers fits, by short links', async () => {
  const layers = Array.from({ length: 64 }, (_, index): Entry[] => [
    { name: `layer-${index}` },
    { name: 'top', content: String(index) },
  ]);
  const root = await enter({ layers, itemConfig: { baseLayerIsNodeRootfs: false } }, await makeHost());
  expect(root.list('/')).toHaveLength(66);
  expect(root.read('top')).toBe('0');
  await new HostMounts().unmountAll([], signal);
  await root.roots.remove('enter', root.bundleDir, signal);
  expect(readdirSync(root.bundleDir)).toEqual([]);
});

test('many roots share the calls of the helper, and each hears of its own failure', async () => {
  const item = { layers: [] as string[] };
  const mounts = new FakeMounts();
  const roots = await ContainerRoots.open({ workingDir: work, hostBinds: [], hostRoot: await makeHost(), mounts });
  const ids = Array.from({ length: 30 }, (_, index) => `many-${index}`);
  const prepared = await Promise.allSettled(
    ids.map(async (id, index) => {
      const layers = index === 7 ? [join(work, 'missing', 'layer')] : item.layers;
      return roots.prepare({ id, bundleDir: await bundle(id), item: { layers }, mounts: [], network }, signal);
    }),
  );
  expect(prepared.filter(({ status }) => status === 'rejected')).toHaveLength(1);
  expect(String((prepared[7] as PromiseRejectedResult).reason.message)).toMatch(
    /cannot make the root of instance many-7: .*is no complete layer/,
  );
  expect(mounts.mounted).toHaveLength(29);
  expect(mounts.calls).toBeLessThan(10);
});

test('host binds that would show too much of the node are refused', async () => {
  for (const path of ['', '.', '/', 'etc', '/var/', 'proc', './home']) {
    await expect(ContainerRoots.open({ workingDir: work, hostBinds: [path] })).rejects.toThrow(
      /hostBinds: .* would show/,
    );
  }
  await expect(ContainerRoots.open({ workingDir: work, hostBinds: ['../etc'] })).rejects.toThrow(/hostBinds/);
  const allowed = { workingDir: work, hostBinds: ['etc'], allowUnsafeHostBinds: true };
  await expect(ContainerRoots.open(allowed)).resolves.toBeInstanceOf(ContainerRoots);
});
