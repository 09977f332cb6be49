/** What a whole unit shows of itself: alerts and logs at its cloud, metrics on the node, and silence when nothing happens. */
import { once } from 'node:events';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { metricValue, parsePrometheus } from '../../src/daemon/metrics/prometheus-parser-for-tests.ts';
import { busyboxLayer, writeImage } from './image.ts';
import { World } from './world.ts';

const STORY_MS = 180_000;
const DAEMONS = ['aos-iam', 'aos-cm', 'aos-sm'] as const;
/** Samples that the cloud hears of while the unit has nothing else to tell. */
const IDLE_SAMPLES = 5;

let world: World;
let ports: readonly number[];
let ownFiles: string;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

beforeAll(async () => {
  ports = await Promise.all(DAEMONS.map(freePort));
  ownFiles = await mkdtemp(join(tmpdir(), 'aos-monitoring-'));
  const resourcesConfigFile = join(ownFiles, 'resources.cfg');
  writeFileSync(resourcesConfigFile, JSON.stringify([{ name: 'lidar', devices: ['/dev/no-such-lidar'] }]));
  const listen = (index: number) => ({ metrics: { listen: `127.0.0.1:${ports[index]}` } });
  world = await World.create({
    unit: {
      verbose: 'info',
      config: {
        iam: listen(0),
        cm: {
          ...listen(1),
          ...{ monitoring: { sendPeriod: '1s' }, alerts: { sendPeriod: '1s' } },
          // For development: each message becomes a line in a file.
          cloudMessageLog: undefined,
        },
        sm: { ...listen(2), resourcesConfigFile, monitoring: { pollPeriod: '1s', averageWindow: '1s' } },
      },
    },
  });
  await world.provision();
}, STORY_MS);

afterAll(async () => {
  await world?.close();
  await rm(ownFiles, { recursive: true, force: true });
}, STORY_MS);

async function publish(itemId: string, script: string, config: object = {}): Promise<void> {
  const directory = join(world.directory, `image-${itemId}`);
  await writeImage(directory, { cmd: ['/bin/sh', '-c', script], layers: [busyboxLayer()] });
  const file = join(world.directory, `${itemId}.json`);
  writeFileSync(file, JSON.stringify(config));
  await world.must('publish', directory, '--id', itemId, '--version', '1.0.0', '--config', file);
}

const messages = (type: string) =>
  world.rest.get<{ readonly items?: unknown[] }[]>(`/api/units/${world.systemId}/messages?limit=500&type=${type}`);

interface StoredAlert {
  readonly tag: string;
  readonly at: number;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Alerts about an item that the cloud has heard of. */
const alertsAtCloud = async (tag: string, itemId: string) => {
  const path = `/api/units/${world.systemId}/alerts?limit=1000&tag=${tag}`;
  const alerts = await world.rest.get<StoredAlert[]>(path);
  return alerts.filter(({ data }) => JSON.stringify(data).includes(itemId));
};

const quotaAlerts = (itemId: string) => alertsAtCloud('instanceQuotaAlert', itemId);

test(
  '[W10] [SM-52] [CM-123] a load generator in an instance raises an alert that arrives at the cloud, holds it, and drops it',
  async () => {
    const cpu = { minTimeout: 'PT2S', minThreshold: 5, maxThreshold: 10 };
    await publish('busy', 'while :; do :; done', { alertRules: { cpu } });
    await world.deploy('busy', '1.0.0');
    await world.until(
      'the alert arrives',
      () => quotaAlerts('busy'),
      (alerts) => alerts.length > 0,
    );
    const [first] = await quotaAlerts('busy');
    expect(first!.data).toMatchObject({ parameter: 'cpu' });
    interface Told {
      readonly at: string;
      readonly about?: string;
      readonly message: string;
    }
    const onNode = async () => {
      const lines = (await world.must('--json', 'alerts')).trim().split('\n');
      return lines.map((line) => JSON.parse(line) as Told).filter(({ about }) => about?.startsWith('busy/'));
    };
    const ofKind = (all: readonly Told[], kind: string) =>
      all.filter(({ message }) => message.startsWith(`cpu ${kind}`)).map(({ at }) => Date.parse(at));
    await world.until('it is held', onNode, (told) => ofKind(told, 'continue').length > 0);
    const [{ pid } = { pid: undefined }] = await world.running('busy');
    process.kill(pid!, 'SIGSTOP');
    const told = await world.until('it is dropped', onNode, (all) => ofKind(all, 'fall').length > 0);
    const [raises, falls] = [ofKind(told, 'raise'), ofKind(told, 'fall')];
    expect([raises.length, falls.length]).toEqual([1, 1]);
    const timesOf = (alerts: readonly StoredAlert[]) => alerts.map(({ at }) => at);
    const atCloud = timesOf(
      await world.until(
        'its end arrives',
        () => quotaAlerts('busy'),
        (alerts) => timesOf(alerts).includes(falls[0]!),
      ),
    );
    // Each once, and none that the node did not raise. Of equal ones that waited together the first is sent alone.
    expect(new Set(atCloud).size).toBe(atCloud.length);
    expect(told.map(({ at }) => Date.parse(at))).toEqual(expect.arrayContaining(atCloud));
    expect(atCloud).toContain(raises[0]);
    process.kill(pid!, 'SIGCONT');
    await world.must('undeploy', 'busy', '--unit', world.systemId, '--wait', '60');
  },
  STORY_MS,
);

test(
  '[SM-32] [CM-123] a resource that an instance cannot have is an alert at the cloud: no node has it, or its node lacks the device',
  async () => {
    const wishes = { sonar: /no node .* has the resource sonar/, lidar: /device \/dev\/no-such-lidar/ };
    for (const [deviceId, message] of Object.entries(wishes)) {
      const itemId = `wants-${deviceId}`;
      await publish(itemId, 'sleep 1000', { resources: [deviceId] });
      await world.wish(itemId, '1.0.0');
      const [alert] = await world.until(
        'it is told',
        () => alertsAtCloud('resourceAllocateAlert', itemId),
        (alerts) => alerts.length > 0,
      );
      expect(alert!.data).toMatchObject({ deviceId, instance: 0, message: expect.stringMatching(message) });
      await world.must('undeploy', itemId, '--unit', world.systemId, '--wait', '60');
    }
  },
  STORY_MS,
);

test(
  '[W9] [CM-124] [SM-55] a request for the last hour returns exactly the lines that were written',
  async () => {
    await publish('writer', 'for i in 1 2 3; do echo line $i; echo error $i >&2; done; while :; do sleep 1000; done');
    await world.deploy('writer', '1.0.0');
    const path = `/api/units/${world.systemId}/logs`;
    const from = new Date(Date.now() - 3_600_000).toISOString();
    const ask = async () => {
      const { correlationId } = await world.rest.send<{ correlationId: string }>('POST', path, {
        ...{ logType: 'instanceLog', itemId: 'writer', from },
      });
      const [log] = await world.until(
        'the log has come',
        () => world.rest.get<{ status: string; complete: boolean; text: string }[]>(`${path}/${correlationId}`),
        (logs) => logs.length === 1 && logs[0]!.complete,
      );
      return log!.text.split('\n').flatMap((line) => (line === '' ? [] : [line.replace(/^\d{14}Z (.*) $/, '$1')]));
    };
    const lines = await world.until('all has been written', ask, (found) => found.length >= 6);
    expect([...lines].sort()).toEqual(['error 1', 'error 2', 'error 3', 'line 1', 'line 2', 'line 3']);
  },
  STORY_MS,
);

test(
  '[P-14] every daemon of the unit is scraped: its own cost, node, instances, unit, certificates',
  async () => {
    const scrape = async (port: number) => {
      return parsePrometheus(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text());
    };
    const [iam, cm, sm] = await Promise.all(ports.map(scrape));
    for (const metrics of [iam!, cm!, sm!])
      expect(metricValue(metrics, 'process_cpu_seconds_total')).toBeGreaterThan(0);
    const expiry = metricValue(iam!, 'aos_iam_certificate_expiry_timestamp_seconds', { type: 'online' });
    expect(expiry).toBeGreaterThan(Date.now() / 1000);
    expect(metricValue(cm!, 'aos_unit_info', { unit: world.systemId })).toBe(1);
    expect(metricValue(cm!, 'aos_unit_cloud_connected')).toBe(1);
    expect(metricValue(cm!, 'aos_unit_instances', { state: 'active' })).toBe(1);
    expect(metricValue(sm!, 'aos_instance_memory_bytes', { item: 'writer' })).toBeGreaterThan(0);
  },
  STORY_MS,
);

test(
  '[O-06] the log of the unit has the begin and the end of each long phase, with its time',
  async () => {
    const lines = (await world.logs()).split('\n');
    for (const phase of ['process desired status', 'download update items', 'install items', 'start instances']) {
      expect(lines.some((line) => line.includes(`"msg":"${phase}: begin"`))).toBe(true);
      expect(lines.some((line) => line.includes('"tookMs":') && line.includes(`"msg":"${phase}: end"`))).toBe(true);
    }
  },
  STORY_MS,
);

/** Bytes that each daemon has made the disks write since its start. */
function written(): number[] {
  return DAEMONS.map((name) => {
    const io = readFileSync(`/proc/${world.unit.supervisor.daemon(name).pid}/io`, 'utf8');
    return Number(/^write_bytes: (\d+)$/m.exec(io)?.[1]);
  });
}

/** Every file of the unit, with its size and the time of its last change. */
async function files(): Promise<Record<string, string>> {
  const { var: directory, logs } = world.unit.layout;
  const found: Record<string, string> = {};
  for (const root of [directory, logs]) {
    for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || entry.parentPath.includes('/storages/')) continue;
      const path = join(entry.parentPath, entry.name);
      const stat = statSync(path, { throwIfNoEntry: false });
      if (stat) found[path] = `${stat.size} ${stat.mtimeMs}`;
    }
  }
  return found;
}

test(
  '[B-04] [R-10] a unit that runs an instance, measures, and tells its cloud, but has no news, writes nothing to the disk',
  async () => {
    const heard = async () => (await messages('monitoringData')).length;
    const untilHeard = (count: number) =>
      world.until('the cloud hears of usage', heard, (now) => now >= count, STORY_MS);
    // The last news of the stories above are written when some samples have passed.
    await untilHeard((await heard()) + IDLE_SAMPLES);
    const before = { bytes: written(), files: await files() };
    // They have written before, and are counted.
    expect(Math.min(...before.bytes)).toBeGreaterThan(0);
    await untilHeard((await heard()) + IDLE_SAMPLES);
    expect({ bytes: written(), files: await files() }).toEqual(before);
  },
  STORY_MS,
);
