import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestOf, isAosError } from '../core/index.ts';
import {
  DEFAULT_RUNTIMES,
  parseImageConfig,
  parseImageIndex,
  parseImageManifest,
  parseItemConfig,
  readItemConfig,
} from './index.ts';

/** A published example in its compact form. */
function example(name: string): string {
  const path = join(import.meta.dirname, '../../test/vectors/items', `${name}.json`);
  return JSON.stringify(JSON.parse(readFileSync(path, 'utf8')));
}

const item = (fields: object) => JSON.stringify(fields);

describe('the published examples', () => {
  test.each([
    ['image-index', '620f073e2ad9fb0d098fcb0a8346c1a5dd986446c3a05e93f38d470cbce967e2'],
    ['image-manifest', '158eab0181df87f92199c2d214bc6533f4fd36f0a9fee12b14e53479d0a45722'],
    ['image-config', '46fcee3c41788e339b9f8157f1df2d1104aa05d50fb0f16dbe0f284c837b255e'],
    ['item-config', '3915907b49ed694ea531802f048a7afa83e62991b4ae8b54b678a7d33d262df2'],
    ['component-image-index', 'f0a0a4832435c6fbac4c5d6ecd9475d325292c4a1aa84ab6d1ec32b684ce067b'],
    ['component-image-manifest', '0714e2b11348f4cce433ca2712139b001ba7525fa7e6a283edced5f42cc9a653'],
    ['component-image-config', 'd6f56bc20064075ce319ac2e6fcef5de9ea21773b0a8a4398c4405222971f9c0'],
    ['component-item-config', 'f87bc3f279d2b6b4f21a6c244ac74de8afe4798bfb9f0226a3f4fa0305853afd'],
  ])('%s has its published digest', (name, hex) => {
    expect(digestOf(example(name))).toBe(`sha256:${hex}`);
  });

  test('an index leads to its manifest, with size and platform', () => {
    const [manifest] = parseImageIndex(example('image-index')).manifests;
    expect(manifest?.digest).toBe(digestOf(example('image-manifest')));
    expect(manifest?.size).toBe(example('image-manifest').length);
    expect(manifest?.platform).toEqual({ architecture: 'arm64', variant: 'v8', os: 'linux' });
  });

  test('[CM-48] a manifest leads to its configurations and layers', () => {
    const manifest = parseImageManifest(example('image-manifest'));
    expect(manifest.config.digest).toBe(digestOf(example('image-config')));
    expect(manifest.aosItemConfig?.digest).toBe(digestOf(example('item-config')));
    expect(manifest.layers.map((layer) => layer.size)).toEqual([3145728, 20480]);
  });

  test('an image configuration says platform, command, ports and layers', () => {
    expect(parseImageConfig(example('image-config'))).toMatchObject({
      architecture: 'arm64',
      variant: 'v8',
      os: 'linux',
      config: {
        exposedPorts: ['8080/tcp', '5353/udp'],
        env: ['LOG_LEVEL=info', 'REGION=south'],
        entrypoint: ['/usr/bin/python3', '-u'],
        cmd: ['/app/main.py', '--port', '8080'],
        workingDir: '/app',
      },
    });
    expect(parseImageConfig(example('image-config')).rootfs.diff_ids).toHaveLength(2);
  });

  test('an item configuration is read whole, and no key of it is unknown', () => {
    const { value, warnings } = readItemConfig(example('item-config'));
    expect(warnings).toEqual([]);
    expect(value).toMatchObject({
      author: 'Example Apps',
      hostname: 'telemetry',
      runtimes: ['crun', 'runc'],
      namesRuntimes: true,
      runParameters: { startIntervalMs: 10_000, startBurst: 5, restartIntervalMs: 2000 },
      sysctl: { 'net.ipv4.ip_forward': '0' },
      offlineTtlMs: 7 * 86_400_000,
      quotas: { cpuDMIPSLimit: 5000, ramLimit: 134217728, uploadSpeed: 512, downloadLimit: 524288000 },
      requestedResources: { cpu: 1500, ram: 67108864, storage: 33554432, state: 16384 },
      allowedConnections: ['c1f0a7d2-3b46-4e58-9a0c-7d8e9f102132/1883/tcp'],
      resources: [
        { name: 'can0', mode: 'rw' },
        { name: 'dbus', mode: 'rw' },
      ],
      permissions: { vis: { 'Vehicle.Speed.*': 'r', 'Vehicle.Cabin.*': 'rw' } },
      alertRules: {
        ram: { minTimeoutMs: 30_000, minThreshold: 2, maxThreshold: 3 },
        partitions: [{ name: 'storages', minTimeoutMs: 300_000, minThreshold: 0.5, maxThreshold: 0.7 }],
        upload: { minTimeoutMs: 60_000, minThreshold: 80000000, maxThreshold: 100000000 },
      },
    });
  });

  test('a component has runtimes and a platform', () => {
    expect(parseItemConfig(example('component-item-config')).runtimes).toEqual(['rootfs']);
    expect(parseImageConfig(example('component-image-config'))).toMatchObject({ architecture: 'arm64', os: 'linux' });
  });
});

describe('reading is lenient where AosCore is', () => {
  test('an empty item configuration has all defaults', () => {
    expect(parseItemConfig('{}')).toEqual({
      author: '',
      skipResourceLimits: false,
      balancingPolicy: 'enabled',
      runtimes: DEFAULT_RUNTIMES,
      namesRuntimes: false,
      runParameters: { startIntervalMs: 5000, startBurst: 3, restartIntervalMs: 1000 },
      sysctl: {},
      offlineTtlMs: 0,
      quotas: {},
      requestedResources: {},
      allowedConnections: [],
      resources: [],
      permissions: {},
      baseLayerIsNodeRootfs: true,
    });
  });

  test('keys are matched without regard to case, null is absent, scalars are converted', () => {
    const config = parseImageConfig(
      '{"Architecture":"amd64","author":null,"CONFIG":{"Env":["A=1"],"Cmd":["sh"],"Entrypoint":null,"WorkingDir":""}}',
    );
    expect(config.config).toMatchObject({ env: ['A=1'], cmd: ['sh'], entrypoint: [], workingDir: '/' });
    const { quotas } = parseItemConfig('{"quotas":{"cpuDmipsLimit":"77","RAMLIMIT":4096}}');
    expect(quotas).toEqual({ cpuDMIPSLimit: 77, ramLimit: 4096 });
  });

  test('the largest 64-bit number means as much as can be counted', () => {
    expect(parseItemConfig('{"quotas":{"ramLimit":18446744073709551615}}').quotas.ramLimit).toBe(
      Number.MAX_SAFE_INTEGER,
    );
  });

  test('resources may be texts, without mode they are readable and writable', () => {
    expect(parseItemConfig(item({ resources: ['a', { name: 'b' }, { name: 'c', mode: 'r' }] })).resources).toEqual([
      { name: 'a', mode: 'rw' },
      { name: 'b', mode: 'rw' },
      { name: 'c', mode: 'r' },
    ]);
  });

  test('allowed connections may be an object, a list of texts or a list of objects', () => {
    for (const allowedConnections of [{ 'a/1': {}, 'b/2/udp': {} }, ['a/1', 'b/2/udp'], [{ 'a/1': {} }, 'b/2/udp']]) {
      expect(parseItemConfig(item({ allowedConnections })).allowedConnections).toEqual(['a/1', 'b/2/udp']);
    }
  });

  test('runtimes are named by codename, else by id; runners count when there are no runtimes', () => {
    expect(parseItemConfig(item({ runtimes: [{ codename: 'crun', id: 'x' }, { id: 'runc' }] })).runtimes).toEqual([
      'crun',
      'runc',
    ]);
    expect(parseItemConfig(item({ runners: ['runx'] })).runtimes).toEqual(['runx']);
    expect(parseItemConfig(item({ runners: ['runx'], runtimes: ['crun'] })).runtimes).toEqual(['crun']);
  });

  test('the older storage rule is a rule for the partition storages, unless there is one', () => {
    const storage = { minTimeout: 'PT1M', minThreshold: 1, maxThreshold: 2 };
    const rule = { name: 'storages', minTimeoutMs: 60_000, minThreshold: 1, maxThreshold: 2 };
    expect(parseItemConfig(item({ alertRules: { storage } })).alertRules?.partitions).toEqual([rule]);
    const own = { name: 'storages', minThreshold: 7 };
    expect(parseItemConfig(item({ alertRules: { storage, partitions: [own] } })).alertRules?.partitions).toEqual([
      { ...own, minTimeoutMs: 0, maxThreshold: 0 },
    ]);
  });

  test('an ambiguous CPU limit and an unknown key are ignored with a warning', () => {
    const { value, warnings } = readItemConfig(item({ quotas: { CPULimit: 50 }, hostnam: 'x' }));
    expect(value.quotas).toEqual({});
    expect(warnings[0]).toContain('quotas.CPULimit is ignored');
    expect(warnings[1]).toContain('did you mean "hostname"?');
  });

  test('what a digest is spelled with does not matter', () => {
    const hex = 'A'.repeat(64);
    const index = parseImageIndex(item({ manifests: [{ digest: `SHA256:${hex}` }] }));
    expect(index.manifests[0]?.digest).toBe(`sha256:${hex.toLowerCase()}`);
  });
});

describe('a refusal names document, field, finding and expectation', () => {
  test.each([
    ['{"balancingPolicy":"on"}', 'item configuration: balancingPolicy: expected "enabled" or "disabled", found "on"'],
    ['{"layerOrder":"up"}', 'item configuration: layerOrder: expected "aos" or "oci", found "up"'],
    ['{"offlineTTL":"soon"}', 'item configuration: offlineTTL: invalid duration string "soon"'],
    ['{"offlineTTL":"-PT5S"}', 'item configuration: offlineTTL: expected a duration of at least 0, found "-PT5S"'],
    ['{"resources":[{"name":"a","mode":"x"}]}', 'resources[0]: expected a mode of the letters r, w, m'],
    ['{"runtimes":[{}]}', 'item configuration: runtimes[0]: expected a codename'],
    ['{"quotas":{"ramLimit":1.5}}', 'item configuration: quotas.ramLimit: expected a whole number, found 1.5'],
    ['{"hostname":"a\\u0000b"}', 'item configuration: hostname: expected a text without zero bytes'],
    ['[]', 'item configuration: Invalid input: expected object'],
    ['{', 'item configuration is not JSON'],
  ])('%s', (text, message) => {
    expect(() => parseItemConfig(text)).toThrow(message);
  });

  test('an image without architecture', () => {
    expect(() => parseImageConfig('{}')).toThrow('image configuration: architecture: ');
  });

  test('a relative working directory', () => {
    expect(() => parseImageConfig('{"architecture":"a","config":{"workingDir":"app"}}')).toThrow(
      'config.workingDir: expected an absolute path, found "app"',
    );
  });

  test('a digest that is none, more manifests or layers than can be, a document beyond its limit', () => {
    expect(() => parseImageIndex('{"manifests":[{"digest":"sha256:12"}]}')).toThrow('manifests[0].digest: digest');
    const digest = `sha256:${'0'.repeat(64)}`;
    const many = Array.from({ length: 65 }, () => ({ digest }));
    expect(() => parseImageIndex(item({ manifests: many }))).toThrow('expected at most 16 manifests');
    expect(() => parseImageManifest(item({ config: { digest }, layers: many }))).toThrow('expected at most 64 layers');
    expect(() => parseItemConfig(`"${'x'.repeat(1024 * 1024)}"`)).toThrow('more than 1048576 bytes');
  });
});

describe('[R-06] no document makes a parser fail in another way than by a refusal', () => {
  const parsers = [parseImageIndex, parseImageManifest, parseImageConfig, readItemConfig];
  const refusesOrReads = (text: string) => {
    for (const parse of parsers) {
      try {
        parse(text);
      } catch (error) {
        if (!isAosError(error)) throw error;
      }
    }
  };

  test('any text and any JSON', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), refusesOrReads), { numRuns: 500 });
  });

  test('the examples with any member replaced by anything', () => {
    const documents = ['image-index', 'image-manifest', 'image-config', 'item-config'].map(
      (name) => JSON.parse(example(name)) as object,
    );
    const odd = fc.oneof(fc.jsonValue(), fc.constantFrom('', '0', 'PT', -1, 1e308, '__proto__', '\0', '9'.repeat(400)));
    fc.assert(
      fc.property(fc.constantFrom(...documents), fc.nat(), odd, (document, seed, value) => {
        const copy = structuredClone(document);
        replaceMember(copy, seed, value);
        refusesOrReads(JSON.stringify(copy));
      }),
      { numRuns: 1000 },
    );
  });
});

/** Replaces the member that a walk led by `seed` ends at. */
function replaceMember(document: object, seed: number, value: unknown): void {
  const keys = Object.keys(document);
  if (keys.length === 0) return;
  const key = keys[seed % keys.length]! as keyof typeof document;
  const member: unknown = document[key];
  if (typeof member === 'object' && member !== null && seed % 3 !== 0) {
    replaceMember(member, Math.floor(seed / keys.length), value);
  } else {
    Object.assign(document, { [key]: value });
  }
}
