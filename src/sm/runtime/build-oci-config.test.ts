import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ImageConfig, ItemConfig } from '../../oci/index.ts';
import type { InstanceInfo } from '../model.ts';
import { buildOciConfig, type OciConfigInput } from './build-oci-config.ts';
import { containerMounts } from './container-mounts.ts';
import { buildEnvironment } from './environment.ts';
import { cpuQuota } from './limits.ts';
import { NODE, service } from './runtime-for-tests.ts';

const info: InstanceInfo = {
  ident: {
    itemId: '0c6f0f3e-5d2b-4b8e-9a51-3f0d7c1e2a10',
    subjectId: 'a94d2c57-63f1-4e7b-8c20-5d1e9f7b6a02',
    instance: 0,
    type: 'service',
    preinstalled: false,
  },
  version: '1.0.0',
  manifestDigest: '',
  ownerId: '',
  runtimeId: '',
  uid: 5003,
  gid: 5001,
  priority: 0,
  storagePath: '',
  statePath: '',
  envVars: [],
};
const ID = '8a890eaf-2338-3708-8787-47faa572efab';

function input(more: Partial<OciConfigInput> = {}): OciConfigInput {
  return {
    info,
    item: service('true'),
    root: { path: '/run/rootfs', mounts: [] },
    resources: { gids: [], envs: [], devices: [] },
    node: { maxDmips: NODE.maxDmips, numCores: 4 },
    network: { hostname: '' },
    ...more,
  };
}

describe('configuration of a container', () => {
  test('is that of the example of the specification', () => {
    const item = {
      ...service(''),
      imageConfig: ImageConfig.parse({
        architecture: 'arm64',
        config: {
          entrypoint: ['/usr/bin/python3', '-u'],
          cmd: ['/app/main.py', '--port', '8080'],
          env: ['LOG_LEVEL=info', 'REGION=south'],
          workingDir: '/app',
        },
      }),
      itemConfig: ItemConfig.parse({
        hostname: 'telemetry',
        sysctl: { 'net.ipv4.ip_forward': '0' },
        quotas: { cpuDMIPSLimit: 5000, ramLimit: 134_217_728, pidsLimit: 64, noFileLimit: 512 },
        permissions: { vis: { '*': 'r' } },
      }),
    };
    const node = { maxDmips: 24_000, numCores: 4 };
    const config = buildOciConfig(
      input({ item, node, secret: 'demo', network: { netnsPath: `/run/netns/${ID}`, hostname: '' } }),
    );
    expect(config.process).toMatchObject({
      terminal: false,
      user: { uid: 5003, gid: 5001 },
      args: ['/usr/bin/python3', '-u', '/app/main.py', '--port', '8080'],
      env: [
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'TERM=xterm',
        `AOS_ITEM_ID=${info.ident.itemId}`,
        `AOS_SUBJECT_ID=${info.ident.subjectId}`,
        'AOS_INSTANCE_INDEX=0',
        `AOS_INSTANCE_ID=${ID}`,
        'LOG_LEVEL=info',
        'REGION=south',
        'AOS_SECRET=demo',
      ],
      cwd: '/app',
      rlimits: [
        { type: 'RLIMIT_NOFILE', soft: 512, hard: 512 },
        { type: 'RLIMIT_NPROC', soft: 64, hard: 64 },
      ],
      noNewPrivileges: true,
    });
    expect(config.hostname).toBe('telemetry');
    expect(config.linux).toMatchObject({
      cgroupsPath: `/system.slice/system-aos.slice/system-aos-service.slice/${ID}`,
      sysctl: { 'net.ipv4.ip_forward': '0' },
      resources: { memory: { limit: 134_217_728 }, cpu: { quota: 83_333, period: 100_000 }, pids: { limit: 64 } },
    });
    expect(config.linux.namespaces).toEqual([
      ...['pid', 'ipc', 'uts', 'mount', 'cgroup'].map((type) => ({ type })),
      { type: 'network', path: `/run/netns/${ID}` },
    ]);
  });

  test('leaves out what is empty', () => {
    const text = JSON.stringify(buildOciConfig(input()));
    for (const word of ['devices":[]', 'sysctl', 'additionalGids', 'seccomp', 'annotations', 'memory', 'null']) {
      expect(text).not.toContain(word);
    }
  });

  test('[SM-26] limits hold also when nothing is reserved for the instance', () => {
    const quotas = { ramLimit: 1, pidsLimit: 2 };
    const item = service('true', { config: { skipResourceLimits: true, quotas } });
    expect(buildOciConfig(input({ item })).linux.resources).toMatchObject({ memory: { limit: 1 }, pids: { limit: 2 } });
  });

  test('refuses an image without a command by name', () => {
    const item = { ...service(''), imageConfig: ImageConfig.parse({ architecture: 'amd64' }) };
    expect(() => buildOciConfig(input({ item }))).toThrow(`the image of ${info.ident.itemId}/`);
  });

  test('grants each device once, with the access of the last wish; everything else is denied', () => {
    const device = { type: 'c' as const, major: 10, minor: 200, fileMode: 0o600, uid: 0, gid: 0 };
    const devices = [
      { device: { ...device, path: '/dev/a' }, access: 'r' },
      { device: { ...device, path: '/dev/b' }, access: 'rw' },
      { device: { ...device, path: '/dev/a', fileMode: 0o666 }, access: 'rwm' },
      { device: { path: '/dev/fifo', type: 'p' as const, fileMode: 0o600, uid: 0, gid: 0 }, access: 'rw' },
    ];
    const { linux } = buildOciConfig(input({ resources: { gids: [7], envs: [], devices } }));
    expect(linux.devices?.map(({ path, fileMode }) => [path, fileMode])).toEqual([
      ['/dev/a', 0o666],
      ['/dev/b', 0o600],
      ['/dev/fifo', 0o600],
    ]);
    expect(linux.resources.devices).toEqual([
      { allow: false, access: 'rwm' },
      { allow: true, type: 'c', major: 10, minor: 200, access: 'rwm' },
    ]);
  });
});

describe('share of processor time', () => {
  test.each([
    [1000, 10_000, 4, 40_000],
    [5000, 24_000, 4, 83_333],
    [1, 10_000, 4, 1000],
    [0, 10_000, 4, 1000],
    [100, 1000, 0, 10_000],
  ])('[SM-21] %d of %d DMIPS on %d cores are %d µs of 100000', (limit, maxDmips, numCores, quota) => {
    expect(cpuQuota(limit, { maxDmips, numCores })).toEqual({ period: 100_000, quota });
  });

  test('a node that does not know its DMIPS cannot limit', () => {
    expect(() => cpuQuota(1000, { maxDmips: 0, numCores: 4 })).toThrow('maxDMIPS');
  });
});

describe('environment', () => {
  const name = fc.stringMatching(/^[A-Z_]{1,8}$/);
  const entries = fc.array(fc.tuple(name, fc.string({ maxLength: 20 })), { maxLength: 20 });
  const text = (list: readonly (readonly [string, string])[]) => list.map(([key, value]) => `${key}=${value}`);

  test('[SM-28] [SM-61] each name is there once, and the latest source wins', () =>
    fc.assert(
      fc.property(entries, entries, entries, (image, resources, overrides) => {
        const environment = buildEnvironment({
          ident: info.ident,
          image: text(image),
          resources: text(resources),
          overrides: overrides.map(([key, value]) => ({ name: key, value })),
        });
        const names = environment.map((entry) => entry.slice(0, entry.indexOf('=')));
        expect(new Set(names).size).toBe(names.length);
        for (const [key, value] of new Map([...image, ...resources, ...overrides])) {
          expect(environment).toContain(`${key}=${value}`);
        }
      }),
    ));

  test('more than 128 KiB are refused', () => {
    const overrides = [{ name: 'BIG', value: 'x'.repeat(128 * 1024) }];
    expect(() => buildEnvironment({ ident: info.ident, image: [], resources: [], overrides })).toThrow(
      'at most 131072',
    );
  });
});

describe('mounts', () => {
  const sources = {
    info: { statePath: '', storagePath: '' },
    quotas: {},
    directories: { stateDir: '/var/states', storageDir: '/var/storages' },
    hostFiles: ['/etc/ssl'],
    resources: [],
  };

  test('[SM-29] data, /tmp and host files follow the standard ones', () => {
    const mounts = containerMounts({
      ...sources,
      info: { statePath: 'a/state.dat', storagePath: 'b' },
      quotas: { tmpLimit: 4096 },
    });
    expect(mounts.slice(7)).toEqual([
      { destination: '/etc/ssl', type: 'bind', source: '/etc/ssl', options: ['bind', 'ro'] },
      {
        destination: '/tmp',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'strictatime', 'mode=1777', 'size=4096'],
      },
      { destination: '/state.dat', type: 'bind', source: '/var/states/a/state.dat', options: ['bind', 'rw'] },
      { destination: '/storage', type: 'bind', source: '/var/storages/b', options: ['bind', 'rw'] },
    ]);
  });

  test('a mount of a resource takes the place of one at the same destination', () => {
    const shm = { destination: '/dev/shm/', type: 'bind', source: '/host/shm', options: ['bind'] };
    const mounts = containerMounts({ ...sources, resources: [shm] });
    expect(mounts[3]).toEqual(shm);
    expect(mounts).toHaveLength(8);
  });

  test.each(['../x', '/../../etc', '..', 'a/../../b'])('data outside of its directory is refused: %s', (path) => {
    expect(() => containerMounts({ ...sources, info: { statePath: path, storagePath: '' } })).toThrow(
      'not a path below',
    );
  });
});
