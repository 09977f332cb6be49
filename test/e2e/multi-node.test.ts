/**
 * A unit of three nodes: the main node, one with a network, and one in a network namespace without any way out but the
 * message proxy and firmware in two slots. Each has its own token, IAM and service manager; the second says that its
 * processor is another one.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cable } from '../../devenv/cable.ts';
import { ProxyHost } from '../../devenv/proxy-host.ts';
import { SecondNode } from '../../devenv/second-node.ts';
import { nodesOf } from '../../src/cli/cloud-views.ts';
import { askControl, type NodeReport } from '../../src/daemon/index.ts';
import type { IamStatus } from '../../src/iam/servers/status.ts';
import { FirmwareHost } from '../component/firmware-host.ts';
import { SettableClock } from '../component/settable-clock.ts';
import { busyboxLayer, noise, writeFirmware } from './image.ts';
import { type RunningInstance, World } from './world.ts';

const run = promisify(execFile);
const STORY_MS = 180_000;
const YEAR_S = 365 * 24 * 3600;
const [ARCHITECTURE, OTHER_ARCHITECTURE] = process.arch === 'arm64' ? ['arm64', 'amd64'] : ['amd64', 'arm64'];
/** What is a minute on a device: the CM waits so long for a service manager that is away. */
const SM_TIMEOUT = '5s';
/** Unique among runs that happen at the same time. */
const NAMESPACE = `aos-mp-${randomBytes(4).toString('hex')}`;

let directory: string;
let clock: SettableClock;
let firmware: FirmwareHost;
let world: World;
let host: ProxyHost;
let cable: Cable;
let second: SecondNode;
let proxied: SecondNode;
let images = 0;

/** Publishes an item for one kind of node; large enough that its file travels in many pieces. */
async function publish(
  itemId: string,
  version: string,
  runtimeType: string,
  { noiseBytes = 300_000, ...more }: { noiseBytes?: number; architectures?: readonly string[] } = {},
): Promise<void> {
  images += 1;
  const cmd = ['/bin/sh', '-c', `echo ${itemId} ${version} speaks; while :; do sleep 1000; done`];
  const layers = [busyboxLayer(), [{ name: 'noise', content: noise(noiseBytes, images) }]];
  await world.publishImage(itemId, version, { cmd, layers, ...more }, { runtimes: [{ codename: runtimeType }] });
}

/** What the cloud knows of the processors. */
interface DescribedUnit {
  readonly nodes: readonly {
    readonly identity: { readonly codename: string };
    readonly runtimes: readonly { readonly archInfo: { readonly architecture: string } }[];
  }[];
}

const nodeReport = (nodes: readonly NodeReport[], nodeId: string) => nodes.find((node) => node.nodeId === nodeId);

/** Waits until the main node sees the node so. */
const untilNode = (nodeId: string, what: string, accept: (node: NodeReport) => boolean) =>
  world.untilUnit(`${nodeId} is ${what}`, ({ nodes }) => {
    const node = nodeReport(nodes, nodeId);
    return node !== undefined && accept(node);
  });

const runningOn = (node: SecondNode) => askControl<RunningInstance[]>(node.layout.sockets.sm, '/instances');

async function untilRuns(node: SecondNode, itemId: string): Promise<RunningInstance> {
  const found = await world.until(
    `${itemId} runs on ${node.nodeId}`,
    () => runningOn(node),
    (list) => list.some((instance) => instance.itemId === itemId && instance.state === 'active'),
  );
  return found.find((instance) => instance.itemId === itemId)!;
}

/** Asks for the log of the service on the proxied node, all the way. */
async function untilLogCame(): Promise<void> {
  const { correlationId } = await world.rest.send<{ correlationId: string }>(
    'POST',
    `/api/units/${world.systemId}/logs`,
    { logType: 'instanceLog', itemId: 'on-proxied', nodeIds: ['proxied'] },
  );
  await world.until(
    'the log is there',
    () => world.rest.get<{ text: string }[]>(`/api/units/${world.systemId}/logs/${correlationId}`),
    (parts) => parts.some(({ text }) => text.includes('on-proxied 1.0.0 speaks')),
  );
}

/** Everything that must not be started anew: the daemons of the main node and of the proxied one, and its instances. */
async function processes() {
  const { supervisor } = world.unit;
  const main = (['aos-iam', 'aos-cm', 'aos-sm'] as const).map((name) => supervisor.daemon(name).pid);
  const behind = (['aos-iam', 'aos-mp', 'aos-sm'] as const).map((name) => proxied.daemon(name).pid);
  const instances = (await runningOn(proxied)).map(({ id, pid, state }) => `${id} ${pid} ${state}`);
  return { main, proxy: host.daemon.pid, behind, instances: instances.sort() };
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-e2e-nodes-'));
  clock = await SettableClock.create(directory);
  firmware = await FirmwareHost.create();
  world = await World.create({
    unit: {
      config: { cm: { nodeInfoProvider: { smConnectionTimeout: SM_TIMEOUT }, unitStatusSendTimeout: '1s' } },
      env: { 'aos-cm': clock.env },
    },
  });
  host = await ProxyHost.start(world.unit, { restartPauseMs: 50, verbose: 'debug', env: clock.env });
  await run('ip', ['netns', 'add', NAMESPACE]);
  await run('ip', ['-n', NAMESPACE, 'link', 'set', 'lo', 'up']);
  const socketPath = join(world.directory, 'cable.sock');
  cable = await Cable.lay({ socketPath, toPort: host.port, namespace: NAMESPACE });
  const common = { main: world.unit, caFile: world.cloud.layout.rootCa, restartPauseMs: 50, verbose: 'debug' };
  second = await SecondNode.start(join(world.directory, 'second'), {
    ...common,
    nodeId: 'second',
    runtimeType: 'second-runtime',
    architecture: OTHER_ARCHITECTURE,
  });
  proxied = await SecondNode.start(join(world.directory, 'proxied'), {
    ...common,
    nodeId: 'proxied',
    runtimeType: 'proxied-runtime',
    proxyUrl: `localhost:${cable.port}`,
    namespace: NAMESPACE,
    further: firmware.config,
    env: { 'aos-mp': clock.env, 'aos-sm': firmware.env },
  });
}, STORY_MS);

afterAll(async () => {
  await proxied?.stop();
  await second?.stop();
  await host?.stop();
  await cable?.remove();
  await run('ip', ['netns', 'del', NAMESPACE]).catch((error: Error) => console.error(error.message));
  await world?.close();
  await firmware?.close();
  await rm(directory, { recursive: true, force: true });
}, STORY_MS);

describe('a unit of three nodes', () => {
  test(
    '[MP-01] [MP-03] [MP-06] [X-09] [IAM-21] [IAM-22] [IAM-23] blank nodes are provisioned with the main node, one of them through the proxy alone',
    async () => {
      expect(await host.report()).toMatchObject({ mode: 'provisioning', transport: { state: 'connected' } });
      await world.must('provision', world.unit.provisioningAddress, '--nodes', '3', '--retry-delay', '1');
      await world.untilCloud('the unit is online', (unit) => unit.online);
      const { nodes } = await world.untilUnit(
        'three nodes are connected',
        (report) =>
          report.nodes.length === 3 && report.nodes.every((node) => node.connected && node.runtimes.length > 0),
      );
      expect(nodeReport(nodes, 'proxied')).toMatchObject({
        state: 'provisioned',
        runtimes: ['proxied-runtime', 'boot', 'rootfs'],
      });
      expect(await readFile(proxied.layout.stateFile, 'utf8')).toBe('provisioned');
      await world.untilCloud(
        'the cloud sees them',
        (unit) => nodesOf(unit).filter((node) => node.connected).length === 3,
      );
      const { stdout } = await run('ip', ['-n', NAMESPACE, '-brief', 'link']);
      expect(stdout.trim().split('\n')).toHaveLength(1);
    },
    STORY_MS,
  );

  test(
    '[MP-04] [MP-05] [MP-07] services run on every node; the files of the proxied one came through the proxy',
    async () => {
      await publish('on-second', '1.0.0', 'second-runtime', { architectures: [ARCHITECTURE, OTHER_ARCHITECTURE] });
      await publish('on-proxied', '1.0.0', 'proxied-runtime', { noiseBytes: 3_000_000 });
      await world.deploy('on-second', '1.0.0');
      await world.deploy('on-proxied', '1.0.0');
      const { pid } = await untilRuns(proxied, 'on-proxied');
      expect((await readFile(`/proc/${pid}/root/noise`)).equals(noise(3_000_000, images))).toBe(true);
      expect(await world.cloudInstances('on-proxied')).toMatchObject([{ state: 'active', nodeId: 'proxied' }]);
      expect(await world.cloudInstances('on-second')).toMatchObject([{ state: 'active', nodeId: 'second' }]);
    },
    STORY_MS,
  );

  test(
    '[X-10] a node that announces another processor gets the image that was made for it, out of one item for two',
    async () => {
      const { nodes } = await world.rest.get<DescribedUnit>(`/api/units/${world.systemId}`);
      const announced = nodes.map(({ identity, runtimes }) => [
        identity.codename,
        ...new Set(runtimes.map(({ archInfo }) => archInfo.architecture)),
      ]);
      expect(announced).toContainEqual(['second', OTHER_ARCHITECTURE]);
      expect(announced).toContainEqual(['proxied', ARCHITECTURE]);
      const { pid } = await untilRuns(second, 'on-second');
      expect(await readFile(`/proc/${pid}/environ`, 'utf8')).toContain(`ARCHITECTURE=${OTHER_ARCHITECTURE}\0`);
      // An image for one processor alone goes nowhere else, whatever its runtime.
      await publish('not-for-second', '1.0.0', 'second-runtime', { architectures: [ARCHITECTURE] });
      await world.wish('not-for-second', '1.0.0');
      const [refused] = await world.until(
        'it has no place',
        () => world.cloudInstances('not-for-second'),
        (list) => list.length === 1 && list[0]?.state === 'failed',
      );
      expect(refused?.error?.message).toMatch(/no runtimes with requested platform/);
    },
    STORY_MS,
  );

  test(
    '[MP-07] [CM-31] [SM-44] firmware goes to the proxied node through the channel, is tried after a reboot, and kept',
    async () => {
      const before = await processes();
      const since = proxied.history.length;
      const image = await firmware.fileSystem('2.0.0');
      // Not compressed by much, so that it is as large as firmware.
      const item = await writeFirmware(join(directory, 'firmware'), gzipSync(image, { level: 0 }), 'boot');
      const kind = ['--type', 'component', '--id', 'proxied-fw', '--version', '2.0.0'];
      await world.must('publish', item, ...kind, '--config', join(item, 'item.json'));
      await world.wish('proxied-fw', '2.0.0');
      await world.until(
        'the node wants a reboot',
        async () => firmware.wantsReboot,
        (wants) => wants,
      );
      await firmware.boot();
      await proxied.daemon('aos-sm').kill('SIGKILL');
      await world.untilActive('proxied-fw', '2.0.0');
      expect(await firmware.efi.numbers('BootOrder')).toEqual([1, 0]);
      expect(await world.cloudInstances('proxied-fw')).toMatchObject([{ nodeId: 'proxied' }]);
      expect(new Set(proxied.history.slice(since).map(({ program }) => program))).toEqual(new Set(['aos-sm']));
      const after = await processes();
      expect(after).toMatchObject({ main: before.main, proxy: before.proxy });
    },
    STORY_MS,
  );

  test(
    '[MP-10] the log of a service on the proxied node reaches the cloud',
    async () => {
      await untilLogCame();
    },
    STORY_MS,
  );
});

describe('a link that breaks', () => {
  test(
    '[MP-11] [IAM-25] [CM-91] a node whose link is cut for longer than the CM waits is an error, and comes back with nothing restarted',
    async () => {
      const before = await processes();
      const [events, mainEvents] = [proxied.history.length, world.unit.supervisor.history.length];
      cable.cut();
      await untilNode('proxied', 'away', (node) => !node.connected);
      await untilNode('proxied', 'missed', (node) => node.state === 'error');
      await world.untilCloud('the cloud sees it', (unit) => {
        const node = nodeReport(nodesOf(unit), 'proxied');
        return node?.connected === false && node.state === 'error' && node.error?.message === 'SM connection timeout';
      });
      expect(await processes()).toEqual(before);
      cable.mend();
      await untilNode('proxied', 'back', (node) => node.connected && node.state === 'provisioned');
      await publish('on-proxied', '2.0.0', 'proxied-runtime', { noiseBytes: 2_000_000 });
      await world.untilCloud(
        'the cloud sees it',
        (unit) => nodeReport(nodesOf(unit), 'proxied')?.state === 'provisioned',
      );
      expect(await world.untilActive('on-proxied', '1.0.0')).toMatchObject([{ nodeId: 'proxied' }]);
      expect(await processes()).toEqual(before);
      expect(proxied.history.slice(events)).toEqual([]);
      expect(world.unit.supervisor.history.slice(mainEvents)).toEqual([]);
      await world.deploy('on-proxied', '2.0.0');
    },
    STORY_MS,
  );

  test(
    '[X-21] [R-03] no link ends and nothing is missed while the dates of the CM and of both ends of the proxy jump by years',
    async () => {
      const before = { processes: await processes(), transport: (await host.report()).transport };
      const { logs } = world.unit.layout;
      const log = () => readFile(join(logs, 'aos-cm.log'), 'utf8');
      const logBefore = await log();
      for (const years of [10, -30, 20, 0]) {
        await clock.set(years * YEAR_S);
        await untilLogCame();
        // The CM believes it: it dates what it sends so.
        const year = new Date(Date.now() + years * YEAR_S * 1000).getUTCFullYear();
        const dated = new RegExp(`^TX: .*"createdAt":"${year}-`, 'm');
        await world.until(
          `it is ${year}`,
          () => readFile(join(logs, 'cloud-messages.txt'), 'utf8'),
          (text) => dated.test(text),
        );
      }
      expect({ processes: await processes(), transport: (await host.report()).transport }).toEqual(before);
      expect((await log()).slice(logBefore.length)).not.toMatch(/a node changed|the session with the cloud ended/);
    },
    STORY_MS,
  );

  test(
    '[MP-11] a proxy that is killed comes back, and so does the node behind it',
    async () => {
      const before = await untilRuns(proxied, 'on-proxied');
      await host.daemon.kill('SIGKILL');
      await world.until(
        'the proxy has its peer again',
        () => host.report(),
        ({ transport }) => transport.state === 'connected',
      );
      await untilNode('proxied', 'back', (node) => node.connected);
      await world.untilCloud('the cloud sees it', (unit) => nodeReport(nodesOf(unit), 'proxied')?.connected === true);
      expect((await untilRuns(proxied, 'on-proxied')).pid).toBe(before.pid);
    },
    STORY_MS,
  );

  test(
    '[MP-11] a CM that is killed learns of the proxied node from what the proxy remembers, without a word of the peer',
    async () => {
      const log = () => readFile(join(proxied.layout.logs, 'aos-sm.log'), 'utf8');
      const before = await log();
      await world.unit.supervisor.daemon('aos-cm').kill('SIGKILL');
      await world.unit.supervisor.untilReady('aos-cm');
      await untilNode('proxied', 'back', (node) => node.connected && node.runtimes.length > 0);
      await world.untilUnit('its instance is known', ({ instances }) =>
        instances.some(({ nodeId, state }) => nodeId === 'proxied' && state === 'active'),
      );
      expect((await log()).slice(before.length)).not.toMatch(/stream to the CM/);
    },
    STORY_MS,
  );
});

describe('certificates', () => {
  /** Serial numbers of those in use, by node and type. */
  async function serials(): Promise<Record<string, string>> {
    const layouts = { main: world.unit.layout, second: second.layout, proxied: proxied.layout };
    const found: Record<string, string> = {};
    for (const [nodeId, { sockets }] of Object.entries(layouts)) {
      const { certificates } = await askControl<Pick<IamStatus, 'certificates'>>(sockets.iam, '/status');
      for (const { type, serial, current } of certificates) {
        if (current && ['iam', 'sm'].includes(type)) found[`${nodeId} ${type}`] = serial;
      }
    }
    return found;
  }

  test(
    '[MP-12] [IAM-23] [R-09] certificates of all nodes are renewed with nothing restarted, and the channels come back with the new ones',
    async () => {
      const log = () => readFile(join(proxied.layout.logs, 'aos-mp.log'), 'utf8');
      const before = { log: await log(), serials: await serials(), processes: await processes() };
      expect(Object.keys(before.serials)).toHaveLength(6);
      await world.untilCloud('the unit is online', (unit) => unit.online);
      await world.rest.send('POST', `/api/units/${world.systemId}/certificates/renew`, { types: ['iam', 'sm'] });
      await world.until('each of the six is another one', serials, (found) =>
        Object.entries(before.serials).every(([name, serial]) => found[name] !== undefined && found[name] !== serial),
      );
      await world.until('the peer renewed its channels', log, (text) =>
        /was renewed/.test(text.slice(before.log.length)),
      );
      await untilNode('proxied', 'back', (node) => node.connected);
      expect(await processes()).toEqual(before.processes);
      await publish('after-renewal', '1.0.0', 'proxied-runtime');
      await world.deploy('after-renewal', '1.0.0');
      await untilRuns(proxied, 'after-renewal');
    },
    STORY_MS,
  );
});

describe('the life of nodes', () => {
  const setState = (nodeId: string, state: string) =>
    world.rest.send('PUT', `/api/units/${world.systemId}/nodes/${nodeId}/state`, { state });

  test(
    '[W15] [IAM-23] a paused node stops its instances, a resumed one starts them again, also behind the proxy',
    async () => {
      await setState('proxied', 'paused');
      await untilNode('proxied', 'paused', (node) => node.state === 'paused');
      await world.untilCloud('the cloud sees it', (unit) => nodeReport(nodesOf(unit), 'proxied')?.state === 'paused');
      await world.until(
        'nothing runs on it',
        () => runningOn(proxied),
        (list) => list.every((instance) => instance.state !== 'active'),
      );
      await setState('proxied', 'provisioned');
      await untilNode('proxied', 'provisioned', (node) => node.state === 'provisioned');
      await untilRuns(proxied, 'on-proxied');
    },
    STORY_MS,
  );

  test(
    '[W16] [X-12] [MP-06] a node is deprovisioned, registers blank through the proxy, and is provisioned again by the cloud',
    async () => {
      const log = () => readFile(join(world.unit.layout.logs, 'aos-iam.log'), 'utf8');
      const before = await log();
      const since = proxied.history.length;
      await world.rest.send('POST', `/api/units/${world.systemId}/nodes/proxied/deprovision`);
      await proxied.untilReady('aos-mp', since);
      expect(proxied.provisioned).toBe(false);
      await world.until(
        'the main IAM has it connected',
        () => readFile(join(world.unit.layout.logs, 'aos-iam.log'), 'utf8'),
        (text) =>
          /"nodeId":"proxied","state":"unprovisioned","server":"public","msg":"a node is registered"/.test(
            text.slice(before.length),
          ),
      );
      await world.untilCloud(
        'the cloud sees it',
        (unit) => nodeReport(nodesOf(unit), 'proxied')?.state === 'unprovisioned',
      );
      await world.until(
        'provisioning is taken',
        () => world.rest.send('POST', `/api/units/${world.systemId}/nodes/proxied/provision`, {}),
        () => true,
      );
      await untilNode('proxied', 'a member again', (node) => node.state === 'provisioned' && node.connected);
      await untilRuns(proxied, 'on-proxied');
    },
    STORY_MS,
  );
});
