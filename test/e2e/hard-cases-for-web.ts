/** What tries the pages: every state at once, names that never end, texts that run the other way, many of everything. */
import type { TestCloud } from '../../src/cloud/cloud-for-tests.ts';
import { ScriptedUnit } from '../../src/cloud/scripted-unit-for-tests.ts';
import type { UnitMessage } from '../../src/protocol/index.ts';
import { node } from './fleet-for-web.ts';

type Of<T extends UnitMessage['messageType']> = Extract<UnitMessage, { messageType: T }>;

export const LONG_NAME = 'W'.repeat(64);
const HEBREW = 'רכב-תל-אביב-עם-שם-ארוך-מאוד';
const MARKUP = '<b onclick=alert(1)>"\'&amp;\u202egnp.exe';
const LONG_FAULT = `cannot start: ${'/var/aos/services/'.repeat(12)}libexample.so.1: cannot open shared object file`;
const MINUTE_MS = 60_000;
const fault = (message: string) => ({ aosCode: 1, exitCode: 1, message });
const time = (minutesAgo: number) => `${new Date(Date.now() - minutesAgo * MINUTE_MS).toISOString().slice(0, 23)}000Z`;

/** Adds them to a cloud; answers the path of each page that shows them, and how to end. */
export async function addHardCases(cloud: TestCloud): Promise<{ readonly paths: string[]; close(): void }> {
  const put = (path: string, body: object = {}) => cloud.must('PUT', path, body);
  const ids = [LONG_NAME, HEBREW, MARKUP.slice(0, 40), ...Array.from({ length: 9 }, (_, index) => `bus-${index}`)];
  const units: ScriptedUnit[] = [];
  for (const id of ids) units.push(await ScriptedUnit.register(cloud, id));
  const long = units[0]!;
  await cloud.publish(LONG_NAME, '10.20.30', 'long');
  for (const version of ['0.0.1', '0.0.2']) await cloud.publish('a', version, version);
  await put(`/api/subjects/${encodeURIComponent(MARKUP)}`, { title: MARKUP });
  await put(`/api/subjects/${LONG_NAME}`, { type: 'user', reported: true });
  await put(`/api/subjects/${LONG_NAME}/items/${LONG_NAME}`);
  await put(`/api/subjects/${LONG_NAME}/units/${LONG_NAME}`);
  await put(`${long.path}/deployments/a`, { version: '0.0.1', subject: LONG_NAME });
  await put(`/api/unit-sets/${LONG_NAME}`, { units: ids });
  await put(`/api/users/${LONG_NAME}`, { role: 'serviceProvider', scope: LONG_NAME });

  await long.comeOnline(status());
  await long.acked(long.send(monitoring()));
  await long.acked(long.send(alerts()));
  const { id } = await cloud.must<{ id: string }>('POST', '/api/campaigns', {
    ...{ itemId: 'a', version: '0.0.2', stages: [LONG_NAME, 'all-cars'] },
  });
  await cloud.must('POST', `/api/campaigns/${id}/stop`);
  const path = `/units/${LONG_NAME}`;
  const instance = `instances/${LONG_NAME}/${LONG_NAME}/0`;
  const paths = [
    ...['/', '/?q=nobody', '/items', '/campaigns', '/groups', '/certificates', '/people', `/campaigns/${id}`, path],
    ...['monitoring', 'events', 'manage', `nodes/${LONG_NAME}`, 'nodes/broken', instance].map((p) => `${path}/${p}`),
  ];
  return { paths, close: () => long.disconnect() };
}

function status(): Partial<Of<'unitStatus'>> {
  const main = node('main', true);
  const identity = { codename: LONG_NAME };
  const states = ['downloading', 'pending', 'installing', 'installed', 'removing', 'failed'] as const;
  return {
    nodes: [
      { ...main, identity, nodeGroupSubject: identity },
      { ...node('broken', false), state: 'error', isConnected: false, errorInfo: fault(LONG_FAULT) },
      { ...node('fresh', false), identity: { codename: 'fresh', title: MARKUP }, state: 'unprovisioned' },
      { ...node('resting', false), identity: { codename: 'resting' }, state: 'paused' },
    ],
    items: [
      ...states.map((state) => ({
        ...{ item: { id: `is-${state}`, type: 'service' as const }, version: '1.0.0-rc.1+build.20261125', state },
        errorInfo: state === 'failed' ? fault(LONG_FAULT) : undefined,
      })),
      { item: { id: LONG_NAME, type: 'service' }, version: '10.20.30', state: 'installed', errorInfo: undefined },
    ],
    instances: [
      {
        ...{ item: { id: LONG_NAME, type: 'service' }, subject: { id: LONG_NAME }, version: '10.20.30' },
        instances: (['activating', 'active', 'inactive', 'failed'] as const).map((state, index) => ({
          ...{ instance: index, node: index === 2 ? { codename: '' } : identity, runtime: { codename: 'crun-main' } },
          ...{ state, errorInfo: state === 'failed' ? fault(LONG_FAULT) : undefined },
        })),
      },
    ],
    unitConfig: [{ version: '1.0.0', state: 'failed', errorInfo: fault(LONG_FAULT) }],
  };
}

/** Five partitions, a hole in the middle, a value of one sample, and one that is above its limit. */
function monitoring(): Of<'monitoringData'> {
  const parts = ['services', 'layers', 'states', 'storages', LONG_NAME];
  const sample = (minutesAgo: number) => ({
    ...{ timestamp: time(minutesAgo), cpu: 30_000, ram: 3 * 2 ** 30, download: 900, upload: 0 },
    partitions: parts.map((name, index) => ({ name, usedSize: (index + 1) * 2 ** 30 })),
  });
  const minutes = Array.from({ length: 60 }, (_, index) => 59 - index).filter((at) => at < 15 || at > 40);
  return {
    messageType: 'monitoringData',
    nodes: [
      { node: { codename: LONG_NAME }, items: minutes.map(sample) },
      { node: { codename: 'broken' }, items: [sample(3)] },
    ],
    instances: [],
  };
}

function alerts(): Of<'alerts'> {
  const where = { item: { id: LONG_NAME }, subject: { id: LONG_NAME }, instance: 0 };
  const main = { codename: LONG_NAME };
  return {
    messageType: 'alerts',
    items: [
      { tag: 'systemAlert', timestamp: time(50), node: main, message: LONG_FAULT },
      { tag: 'coreAlert', timestamp: time(45), node: main, coreComponent: 'SM', message: MARKUP },
      { tag: 'systemQuotaAlert', timestamp: time(9), node: main, parameter: 'ram', value: 3 * 2 ** 30 },
      { tag: 'instanceQuotaAlert', timestamp: time(8), ...where, parameter: 'cpu', value: 12_000 },
      { tag: 'resourceAllocateAlert', timestamp: time(7), ...where, node: main, deviceId: 'camera', message: 'in use' },
      {
        ...{
          tag: 'downloadProgressAlert',
          timestamp: time(6),
          digest: `sha256:${'0f'.repeat(32)}`,
          state: 'interrupted',
        },
        ...{ url: 'https://cloud.example/blob', downloadedBytes: 2 ** 20, totalBytes: 2 ** 30, reason: 'no route' },
        errorInfo: undefined,
      },
    ],
  };
}
