/** A small fleet at a cloud, with something to see on every page. */
import { gzipSync } from 'node:zlib';
import { TestCloud } from '../../src/cloud/cloud-for-tests.ts';
import { ScriptedUnit } from '../../src/cloud/scripted-unit-for-tests.ts';
import type { UnitMessage } from '../../src/protocol/index.ts';

type Status = Partial<Extract<UnitMessage, { messageType: 'unitStatus' }>>;

const MINUTE_MS = 60_000;
const GIB = 1024 ** 3;
const time = (ms: number) => `${new Date(ms).toISOString().slice(0, 23)}000Z`;

export const node = (codename: string, isMain: boolean) => ({
  identity: { codename, title: isMain ? 'Main computer' : 'Display' },
  nodeGroupSubject: { codename: isMain ? 'main' : 'display' },
  ...{ maxDmips: 20_000, totalRam: 4 * GIB, physicalRam: 4 * GIB, state: 'provisioned' as const, isConnected: true },
  osInfo: { os: 'linux', version: '6.1' },
  cpus: [
    {
      ...{ modelName: 'Cortex-A57', totalNumCores: 4, totalNumThreads: 4, maxDmips: 20_000 },
      archInfo: { architecture: 'arm64' },
    },
  ],
  ...(isMain && { attrs: { MainNode: '' } }),
  partitions: [{ name: 'services', types: ['services', 'layers'], totalSize: 16 * GIB }],
  runtimes: [
    {
      ...{ identity: { codename: `crun-${codename}` }, runtimeType: 'crun', maxInstances: 0 },
      ...{ archInfo: { architecture: 'arm64' }, osInfo: { os: 'linux' } },
    },
  ],
  resources: [{ name: 'camera', sharedCount: 1 }],
  errorInfo: undefined,
});

export const item = (id: string, version: string, message?: string) => ({
  item: { id, type: 'service' as const },
  ...{ version, state: message === undefined ? ('installed' as const) : ('failed' as const) },
  errorInfo: message === undefined ? undefined : { aosCode: 1, exitCode: 0, message },
});

export const running = (id: string, version: string, nodeId: string, count = 1, error?: string) => ({
  ...{ item: { id, type: 'service' as const }, subject: { id: 'default' }, version },
  instances: Array.from({ length: count }, (_, instance) => ({
    ...{ instance, node: { codename: nodeId }, runtime: { codename: `crun-${nodeId}` } },
    state: error === undefined ? ('active' as const) : ('failed' as const),
    errorInfo: error === undefined ? undefined : { aosCode: 2, exitCode: 139, message: error },
  })),
});

const nodes = [node('main', true), node('display', false)];

/** Measurements of the last hour, with a rise at its end. */
function monitoring(): UnitMessage {
  const now = Date.now();
  const samples = (scale: number) =>
    Array.from({ length: 60 }, (_, index) => ({
      timestamp: time(now - (59 - index) * MINUTE_MS),
      cpu: scale * (4000 + 2500 * Math.sin(index / 7) + (index > 50 ? 6000 : 0)),
      ram: Math.round(scale * (1.2 + index / 100) * GIB),
      ...{ download: index * 700_000, upload: index * 150_000 },
      partitions: [{ name: 'services', usedSize: Math.round(3.2 * GIB + index * 1_000_000) }],
    }));
  return {
    messageType: 'monitoringData',
    nodes: [
      { node: { codename: 'main' }, items: samples(1) },
      { node: { codename: 'display' }, items: samples(0.5) },
    ],
    instances: [
      {
        ...{ item: { id: 'telemetry' }, subject: { id: 'default' }, instance: 0, node: { codename: 'main' } },
        ...{ itemStates: [], items: samples(0.1) },
      },
    ],
  };
}

export interface WebFleet {
  readonly cloud: TestCloud;
  readonly unit: ScriptedUnit;
  readonly failing: ScriptedUnit;
  close(): Promise<void>;
}

export async function startWebFleet(): Promise<WebFleet> {
  const cloud = await TestCloud.start();
  const put = (path: string, body: object = {}) => cloud.must('PUT', path, body);
  for (const version of ['1.0.0', '1.1.0']) await cloud.publish('telemetry', version, version);
  await cloud.publish('navigation', '3.2.0');
  await cloud.publish('radio', '0.9.1');
  await put('/api/items/radio/0.9.1/verification', { state: 'pending' });

  const unit = await ScriptedUnit.register(cloud, 'car-berlin-01');
  const failing = await ScriptedUnit.register(cloud, 'car-berlin-02');
  const offline = await ScriptedUnit.register(cloud, 'tram-kyiv-07');
  await put('/api/subjects/drivers', { priority: 10 });
  await put('/api/subjects/drivers/items/navigation');
  await put('/api/subjects/alice', { type: 'user', reported: true });
  for (const { path, systemId } of [unit, failing]) {
    await put(`${path}/fleet`, { fleet: 'berlin' });
    await put(`${path}/deployments/telemetry`, { version: '1.0.0', numInstances: 2 });
    await put(`/api/subjects/drivers/units/${systemId}`);
  }
  await put(`${unit.path}/deployments/telemetry`, { version: '1.1.0' });
  await put('/api/unit-sets/first-cars', { units: [unit.systemId, failing.systemId] });
  await put('/api/unit-sets/all-cars', { units: [unit.systemId, failing.systemId, offline.systemId] });
  await put('/api/unit-sets/testers', { verification: true, units: [offline.systemId] });
  await put('/api/users/north', { role: 'fleetOwner', scope: 'berlin' });

  await unit.comeOnline({
    ...{ nodes, items: [item('telemetry', '1.1.0'), item('navigation', '3.2.0')] },
    instances: [
      running('telemetry', '1.1.0', 'main', 2),
      { ...running('navigation', '3.2.0', 'display'), subject: { id: 'drivers' } },
    ],
    unitConfig: [{ version: '1.0.0', state: 'installed', errorInfo: undefined }],
  } as Status);
  await failing.comeOnline({
    ...{ nodes, items: [item('telemetry', '1.0.0'), item('navigation', '3.2.0', 'no room on partition services')] },
    instances: [running('telemetry', '1.0.0', 'main', 1, 'the process ended with signal SIGSEGV')],
  } as Status);
  await unit.acked(unit.send(monitoring()));
  const alert = (minutes: number, message: string) => ({
    ...{ tag: 'systemAlert' as const, timestamp: time(Date.now() - minutes * MINUTE_MS), node: { codename: 'main' } },
    message,
  });
  const quota = {
    ...{ tag: 'systemQuotaAlert' as const, timestamp: time(Date.now() - 8 * MINUTE_MS), node: { codename: 'main' } },
    ...{ parameter: 'cpu', value: 12_400 },
  };
  await unit.acked(unit.send({ messageType: 'alerts', items: [alert(31, 'fan is slow'), quota] }));
  await cloud.must('POST', '/api/campaigns', {
    ...{ itemId: 'telemetry', version: '1.1.0', stages: ['first-cars', 'all-cars'] },
  });
  const asked = await cloud.must<{ correlationId: string }>('POST', `${unit.path}/logs`, { logType: 'systemLog' });
  const lines = Array.from({ length: 40 }, (_, index) => `Nov 25 03:${10 + index} main kernel: [${index}] link is up`);
  await unit.acked(
    unit.send({
      ...{ messageType: 'pushLog', correlationId: asked.correlationId, node: { codename: 'main' } },
      ...{ part: 1, partsCount: 1, status: 'ok', errorInfo: undefined },
      content: gzipSync(lines.join('\n')).toString('base64'),
    }),
  );
  return {
    ...{ cloud, unit, failing },
    close: async () => {
      unit.disconnect();
      failing.disconnect();
      await cloud.close();
    },
  };
}
