import { describe, expect, test } from 'vitest';
import { parseItemConfig, readItemConfig } from '../../../oci/index.ts';
import { parseAuthorFile } from './read-author-file.ts';

const BUNDLE = `
schemaVersion: 2
publisher: {author: J. Example, company: Example Motors}
publish: {tlsKey: user-sp.p12}
items:
  - identity: {codename: tyre-watch, type: service, title: Tyre watch}
    version: 0.3.1
    images:
      - {sourceFolder: out/amd64, archInfo: {architecture: amd64}}
      - {sourceFolder: out/arm64, archInfo: {architecture: arm64}, env: ["ARM=1"], cmd: ["/opt/arm"]}
    configuration:
      cmd: /opt/tyre/watch --every 5
      workingDir: /opt/tyre
      env: ["LIMIT=180"]
      hostname: tyre
      instances: {priority: 20, labels: [cabin]}
      runtimes: [{codename: crun, type: runtime}]
      runParameters: {startInterval: PT10S, startBurst: 4, restartInterval: PT2S}
      balancingPolicy: disabled
      offlineTTL: P2D
      exposedPorts: ["7100/tcp"]
      allowedConnections: ["log-sink/7200/tcp"]
      resources: [{name: vis, mode: r}]
      permissions:
        vis: {"Signal.Chassis.Tyre.*": r}
      quotas: {cpuLimit: 400, ramLimit: 33554432, storageLimit: 1048576, stateLimit: 4096,
               tmpLimit: 262144, pidsLimit: 16, noFileLimit: 128, uploadSpeed: 1500}
      alertRules:
        ram: {minTimeout: PT20S, minThreshold: 70, maxThreshold: 90}
        storage: {minTimeout: PT1M, minThreshold: 80, maxThreshold: 95}
`;

const SINGLE = `
publisher: {author: J. Example}
build: {os: linux, arch: aarch64, sign_pkcs12: sp.p12, symlinks: copy}
publish: {url: cloud.example, service_uid: old-service, version: "1.2.0"}
configuration:
  cmd: python3 main.py
  workingDir: /app
  runner: runc
  isResourceLimits: false
  env: ["A=b"]
  instances: {minInstances: 2, priority: 5}
  devices: [{name: camera, mode: rw}]
  resources: [vis]
  exposedPorts: [8089-8090/tcp, 9000]
  allowedConnections: [other/8087-8088/tcp]
  requestedResources: {cpu: 100, ram: 64MB}
  quotas: {cpu: 50, mem: 128MB, state: 64kB, storage: 1MB, upload_speed: 32Kb, download: 1GB, temp: 256kB}
  alerts:
    ram: {minTime: PT5S, minThreshold: 50, maxThreshold: 80}
    upload: {minTime: PT1M, minThreshold: 1MB, maxThreshold: 2MB}
  permissions: {vis: {"Signal.*": r}}
  layers: [some-layer]
  downloadTTL: P1D
`;

const only = (text: string) => parseAuthorFile(text, 'config.yaml')[0]!;

describe('[P-06] a file of schemaVersion 2', () => {
  test('says which item it is, and has an image for each platform', () => {
    const item = only(BUNDLE);
    expect(item).toMatchObject({ id: 'tyre-watch', version: '0.3.1', title: 'Tyre watch', type: 'service' });
    expect(item.images).toMatchObject([
      {
        platform: { architecture: 'amd64', os: 'linux' },
        config: {
          ...{ cmd: ['/opt/tyre/watch', '--every', '5'], workingDir: '/opt/tyre', env: ['LIMIT=180'] },
          exposedPorts: { '7100/tcp': {} },
        },
      },
      { platform: { architecture: 'arm64' }, config: { cmd: ['/opt/arm'], env: ['LIMIT=180', 'ARM=1'] } },
    ]);
    expect(item.images[0]!.folders).toContain('out/amd64');
    expect(item.defaults).toEqual({ numInstances: 1, priority: 20, labels: ['cabin'] });
  });

  test('becomes an item configuration that a unit reads without a complaint', () => {
    const { value, warnings } = readItemConfig(JSON.stringify(only(BUNDLE).itemConfig));
    expect(warnings).toEqual([]);
    expect(value).toMatchObject({
      ...{ author: 'J. Example', hostname: 'tyre', balancingPolicy: 'disabled', runtimes: ['crun'] },
      runParameters: { startIntervalMs: 10_000, startBurst: 4, restartIntervalMs: 2000 },
      offlineTtlMs: 2 * 86_400_000,
      // Bits per second become kilobits, rounded up.
      quotas: { cpuDMIPSLimit: 400, ramLimit: 33_554_432, stateLimit: 4096, pidsLimit: 16, uploadSpeed: 2 },
      allowedConnections: ['log-sink/7200/tcp'],
      resources: [{ name: 'vis', mode: 'r' }],
      permissions: { vis: { 'Signal.Chassis.Tyre.*': 'r' } },
      alertRules: { ram: { maxThreshold: 90 }, partitions: [{ name: 'storages', maxThreshold: 95 }] },
      baseLayerIsNodeRootfs: true,
    });
  });

  test.each([
    ['schemaVersion: 2\nitems: []', /config\.yaml: items: expected at least one item/],
    ['schemaVersion: 2\nitems: [{identity: {codename: a}, images: []}]', /items\[0\]\.images/],
    [
      'schemaVersion: 2\nitems: [{identity: {codename: a, type: layer}, images: [{archInfo: {architecture: x}}]}]',
      /layer/,
    ],
    ['schemaVersion: 3', /schemaVersion 3 is not known/],
    ['a: [', /is not YAML/],
    ['just text', /expected the description of an item/],
  ])('%j is refused by name', (text, words) => {
    expect(() => parseAuthorFile(text, 'config.yaml')).toThrow(words);
  });
});

describe('[P-06] a file of the older form', () => {
  test('is one service, and says what of it does not arrive', () => {
    const item = only(SINGLE);
    expect(item).toMatchObject({
      ...{ id: 'old-service', version: '1.2.0', type: 'service', defaults: { numInstances: 2, priority: 5 } },
      images: [
        {
          platform: { architecture: 'arm64', os: 'linux' },
          folders: ['src'],
          config: { cmd: ['python3', 'main.py'], env: ['A=b'], exposedPorts: { '8089-8090/tcp': {}, '9000': {} } },
        },
      ],
    });
    expect(item.warnings.join('\n')).toMatch(
      /quotas\.cpu is ignored.*\n.*layers are ignored.*\n.*downloadTTL is ignored/,
    );
  });

  test('becomes an item configuration that a unit reads', () => {
    const config = parseItemConfig(JSON.stringify(only(SINGLE).itemConfig));
    expect(config).toMatchObject({
      ...{ skipResourceLimits: true, runtimes: ['runc'], baseLayerIsNodeRootfs: true },
      quotas: {
        ...{ ramLimit: 134_217_728, stateLimit: 65_536, storageLimit: 1_048_576, tmpLimit: 262_144 },
        ...{ uploadSpeed: 32, downloadLimit: 1_073_741_824 },
      },
      requestedResources: { cpu: 100, ram: 67_108_864 },
      resources: [
        { name: 'vis', mode: 'rw' },
        { name: 'camera', mode: 'rw' },
      ],
      allowedConnections: ['other/8087-8088/tcp'],
      alertRules: { ram: { minTimeoutMs: 5000, maxThreshold: 80 }, upload: { maxThreshold: 2_097_152 } },
    });
  });
});
