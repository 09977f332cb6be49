import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { OciMount } from '../model.ts';
import {
  composeRoot,
  type HostEntry,
  type LayerFacts,
  type LayerView,
  mountPoints,
  type RootFacts,
} from './compose-root.ts';
import { networkFiles } from './network-files.ts';

const usr: HostEntry = { path: 'usr', kind: 'directory', source: '/usr' };
const cache: HostEntry = { path: 'etc/ld.so.cache', kind: 'file', source: '/etc/ld.so.cache' };

function layer(name: string, views: Record<string, LayerView> = {}, hidesAll = false): LayerFacts {
  return { directory: `/layers/${name}`, hidesAll, views };
}

function facts(layers: LayerFacts[], entries: HostEntry[] | undefined = [usr, cache], below: string[] = []): RootFacts {
  return {
    layers,
    nodeBase: entries && { skeleton: '/base', entries },
    generated: { directory: '/run/m', below },
    target: '/run/rootfs',
    linkDirectory: '/run/l',
  };
}

const lowerOf = ({ options }: { readonly options: readonly string[] }) =>
  options
    .find((option) => option.startsWith('lowerdir='))
    ?.slice('lowerdir='.length)
    .split(':');

test('[SM-11] generated files lie on top, then the layers, then the skeleton of the node', () => {
  const { root, mounts } = composeRoot(facts([layer('top'), layer('bottom')]));
  expect(lowerOf(root)).toEqual(['/run/m', '/layers/top', '/layers/bottom', '/base']);
  expect(root.options).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev']));
  expect(mounts.map(({ destination, type, source }) => [destination, type, source])).toEqual([
    ['/usr', 'bind', '/usr'],
    ['/etc/ld.so.cache', 'bind', '/etc/ld.so.cache'],
  ]);
});

test('[SM-11] a directory of the node lies below what the layers have there, as far as none of them hides it', () => {
  const [own, shared, none] = [
    layer('own', { usr: 'directory' }),
    layer('shared', { usr: 'directory' }),
    layer('none'),
  ];
  expect(lowerOf(composeRoot(facts([own, none, shared], [usr])).mounts[0]!)).toEqual([
    '/layers/own/usr',
    '/layers/shared/usr',
    '/usr',
  ]);
  for (const view of ['hides', 'opaque'] as const) {
    expect(composeRoot(facts([own, layer('hiding', { usr: view })], [usr])).mounts).toEqual([]);
  }
});

test('[SM-11] a mount point below a directory of the node is made in it', () => {
  const { mounts } = composeRoot(facts([layer('a')], [usr], ['usr']));
  expect(lowerOf(mounts[0]!)).toEqual(['/run/m/usr', '/usr']);
});

test('[SM-11] a file of the node gives way to a layer that has something in its place', () => {
  expect(composeRoot(facts([layer('a', { 'etc/ld.so.cache': 'hides' })], [cache])).mounts).toEqual([]);
});

test('[SM-11] a complete image without layers is the generated directory alone', () => {
  const { nodeBase: _, ...complete } = facts([]);
  expect(composeRoot(complete).root).toEqual({
    target: '/run/rootfs',
    type: 'none',
    source: '/run/m',
    options: ['bind', 'ro', 'nosuid', 'nodev'],
  });
});

test('[SM-11] below a layer that hides everything there is nothing', () => {
  const { root, mounts } = composeRoot(facts([layer('top'), layer('all', {}, true), layer('hidden')]));
  expect(lowerOf(root)).toEqual(['/run/m', '/layers/top', '/layers/all']);
  expect(mounts).toEqual([]);
});

test('many layers with long paths are named by short links', () => {
  const many = Array.from({ length: 64 }, (_, index) => layer(`${'x'.repeat(80)}/${index}`, { usr: 'directory' }));
  const { root, links, mounts } = composeRoot(facts(many, [usr]));
  expect(links.get('/run/l/1')).toBe(many[0]!.directory);
  expect(lowerOf(root)?.[1]).toBe('/run/l/1');
  expect(lowerOf(mounts[0]!)?.[0]).toBe('/run/l/1/usr');
});

const view = fc.constantFrom<LayerView>('absent', 'directory', 'opaque', 'hides');
const someLayers = fc.array(fc.record({ usr: view, hidesAll: fc.boolean() }), { maxLength: 6 });

test('[SM-11] [R-11] whatever the layers are, only what is named of the node is mounted, and nothing can be written', () => {
  fc.assert(
    fc.property(someLayers, fc.boolean(), (described, hasBase) => {
      const layers = described.map(({ usr: at, hidesAll }, index) => layer(String(index), { usr: at }, hidesAll));
      const { nodeBase, ...rest } = facts(layers, [usr]);
      const plan = composeRoot(hasBase ? { ...rest, nodeBase } : rest);
      for (const { options } of [plan.root, ...plan.mounts]) {
        expect(options).toEqual(expect.arrayContaining(['ro', 'nosuid', 'nodev']));
      }
      const allowed = /^\/(?:layers\/\d+(?:\/usr)?|run\/m|base|usr)$/;
      for (const mount of [plan.root, ...plan.mounts]) {
        for (const path of lowerOf(mount) ?? [mount.source]) expect(path).toMatch(allowed);
      }
      if (!hasBase) expect(plan.mounts).toEqual([]);
    }),
  );
});

const mount = (destination: string, type: string, source = type, options: string[] = []): OciMount => ({
  destination,
  type,
  source,
  options,
});

test('[SM-11] mount points: directories for file systems, the kind of the source for binds, none for the rest', () => {
  const mounts = [
    mount('/proc', 'proc'),
    mount('/dev', 'tmpfs', 'tmpfs', ['mode=755']),
    mount('/dev/pts', 'devpts'),
    mount('/dev/shm', 'tmpfs', 'shm', ['mode=1777']),
    mount('/sys/fs/cgroup', 'cgroup'),
    mount('/tmp', 'tmpfs', 'tmpfs', ['mode=1777']),
    mount('/state.dat', 'bind', '/states/1'),
    mount('/storage/', 'bind', '/storages/1'),
    mount('/../../etc/ssl', 'bind', '/storages/ssl'),
    mount('/gone', 'bind', '/gone'),
  ];
  const kinds = { '/states/1': 'file', '/storages/1': 'directory', '/storages/ssl': 'directory' } as const;
  expect(mountPoints(mounts, (source) => kinds[source as keyof typeof kinds] ?? 'absent')).toEqual([
    { path: 'dev', kind: 'directory', mode: 0o755 },
    { path: 'etc/ssl', kind: 'directory', mode: 0o755 },
    { path: 'proc', kind: 'directory', mode: 0o755 },
    { path: 'state.dat', kind: 'file', mode: 0o644 },
    { path: 'storage', kind: 'directory', mode: 0o755 },
    { path: 'tmp', kind: 'directory', mode: 0o1777 },
  ]);
});

test('network files: one line for each address and server', () => {
  const files = networkFiles({
    hosts: [
      { ip: '127.0.0.1', name: 'localhost' },
      { ip: '172.17.0.2', name: '0.subject.item' },
      { ip: '172.17.0.2', name: 'box' },
    ],
    dnsServers: ['10.0.0.100', '10.0.0.101'],
    hostname: 'box',
  });
  expect(files).toEqual({
    hosts: '127.0.0.1\tlocalhost\n172.17.0.2\t0.subject.item box\n',
    'resolv.conf': 'nameserver 10.0.0.100\nnameserver 10.0.0.101\n',
    hostname: 'box\n',
  });
});
