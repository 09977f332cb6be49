/**
 * Where instances go in a unit of three nodes with two runtimes and one scarce resource, while nodes come and go. Each
 * node has a network of its own, but all have the names of instances in common (network namespaces, cgroups): here an
 * instance moves only after it was stopped, so the node that it goes to is away or unfit until then.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { unitLayout } from '../../devenv/layout.ts';
import { OwnNetwork } from '../../devenv/own-network.ts';
import { SecondNode } from '../../devenv/second-node.ts';
import { askControl, type WhyReport } from '../../src/daemon/index.ts';
import { type RunningInstance, World } from './world.ts';

const STORY_MS = 120_000;
const tag = randomBytes(3).toString('hex');
const [WALKER, SECOND_WALKER, CAMERA, SECOND_CAMERA, LATE] = [
  'walker',
  'second-walker',
  'camera',
  'second-camera',
  'late',
].map((name) => `${name}-${tag}`) as [string, string, string, string, string];
const SIDE = { runtimes: [{ codename: 'side' }] };
/** Only what is measured can be too much; what is not yet measured counts as free, so that the first goes to the left. */
const MEASURES = {
  left: { pollPeriod: '10m', averageWindow: '10m' },
  right: { pollPeriod: '1s', averageWindow: '1s' },
};
/** Half of it is reserved, which a node without free memory has not. */
const HEAVY = { ...SIDE, quotas: { ramLimit: 64 * 1024 * 1024 } };
/** Counts for nothing, also where nothing is free. */
const UNCOUNTED = { ...SIDE, skipResourceLimits: true };

let world: World;
let left: SecondNode;
let right: SecondNode;
const networks = new Map<string, OwnNetwork>();

/** Inside of it a node reaches the main node, and nothing else. */
async function makeNetwork(nodeId: string): Promise<void> {
  const layout = unitLayout(join(world.directory, `network-of-${nodeId}`));
  networks.set(nodeId, await OwnNetwork.create({ layout, inward: Object.values(world.unit.ports), outward: [] }));
}

async function startNode(nodeId: 'left' | 'right'): Promise<SecondNode> {
  const resourcesConfigFile = join(world.directory, `${nodeId}-resources.cfg`);
  const resources = nodeId === 'right' ? [{ name: 'camera', sharedCount: 1 }] : [];
  await writeFile(resourcesConfigFile, JSON.stringify(resources));
  return SecondNode.start(join(world.directory, nodeId), {
    main: world.unit,
    caFile: world.cloud.layout.rootCa,
    restartPauseMs: 50,
    nodeId,
    namespace: networks.get(nodeId)!.namespace,
    runtimeType: 'side',
    overrides: { sm: { resourcesConfigFile, monitoring: MEASURES[nodeId] } },
  });
}

const untilRunsOn = (itemId: string, nodeId: string, version = '1.0.0') =>
  world.until(
    `${itemId} runs on ${nodeId} alone`,
    () => world.cloudInstances(itemId),
    (list) =>
      list.length === 1 &&
      list.every((one) => one.nodeId === nodeId && one.state === 'active' && one.version === version),
  );

const untilConnected = (nodeId: string, isConnected: boolean) =>
  world.untilUnit(`${nodeId} is ${isConnected ? 'there' : 'away'}`, ({ nodes }) =>
    nodes.some(
      (node) => node.nodeId === nodeId && node.connected === isConnected && (!isConnected || node.runtimes.length > 0),
    ),
  );

const untilHasNoPlace = (itemId: string) =>
  world.until(
    `${itemId} has no place`,
    () => world.cloudInstances(itemId),
    (list) => list.length === 1 && list[0]!.state === 'failed' && !list[0]!.nodeId,
  );

/** Why the instance of an item is where it is, or is nowhere, as a person is told. */
const whyOf = async (itemId: string) =>
  JSON.stringify((JSON.parse(await world.must('--json', 'why', `${itemId}/default/0`)) as WhyReport).reasons);

const setState = (nodeId: string, state: string) =>
  world.rest.send('PUT', `/api/units/${world.systemId}/nodes/${nodeId}/state`, { state });

const deployWithLabels = (itemId: string, labels: readonly string[]) =>
  world.rest.send('PUT', `/api/units/${world.systemId}/deployments/${itemId}`, { version: '1.0.0', labels });

const runningOn = (node: SecondNode) => askControl<RunningInstance[]>(node.layout.sockets.sm, '/instances');

/** The process of an item's instance on a node. */
async function pidOn(node: SecondNode, itemId: string): Promise<number | undefined> {
  return (await runningOn(node)).find((one) => one.itemId === itemId)?.pid;
}

/** As without power: nothing of it can say a word, and nothing of it is left. */
async function cutPower(node: SecondNode): Promise<void> {
  await Promise.all((['aos-sm', 'aos-iam'] as const).map((name) => node.daemon(name).stop('SIGKILL')));
  await node.stop();
}

async function configure(version: string, nodes: Readonly<Record<string, object>>): Promise<void> {
  await world.rest.send('PUT', `/api/units/${world.systemId}/unit-config`, {
    formatVersion: '1',
    version,
    nodes: Object.entries(nodes).map(([codename, config]) => ({
      nodeGroupSubject: { codename: 'secondary' },
      node: { codename },
      ...config,
    })),
  });
  await world.untilUnit(
    `unit configuration ${version} is in force`,
    ({ unitConfig }) => unitConfig.version === version,
  );
}

beforeAll(async () => {
  // The minute that a lost node is waited for, and the pauses before statuses are sent, would only make the story longer.
  const cm = { nodeInfoProvider: { smConnectionTimeout: '2s' }, unitStatusSendTimeout: '200ms' };
  world = await World.create({ unit: { config: { cm } } });
  for (const nodeId of ['left', 'right']) await makeNetwork(nodeId);
  left = await startNode('left');
  right = await startNode('right');
  await world.must('provision', world.unit.provisioningAddress, '--nodes', '3', '--retry-delay', '1');
  await world.untilCloud('the unit is online', (unit) => unit.online);
  await untilConnected('left', true);
  await untilConnected('right', true);
  await world.publishBusybox(WALKER, '1.0.0', HEAVY);
  await world.publishBusybox(SECOND_WALKER, '1.0.0', UNCOUNTED);
  await world.publishBusybox(LATE, '1.0.0', SIDE);
  for (const itemId of [CAMERA, SECOND_CAMERA]) {
    await world.publishBusybox(itemId, '1.0.0', { ...SIDE, resources: ['camera'] });
  }
}, STORY_MS);

afterAll(async () => {
  await right?.stop();
  await left?.stop();
  for (const network of networks.values()) await network.remove();
  await world?.close();
}, STORY_MS);

describe('a unit of three nodes', () => {
  test(
    '[CM-63] [CM-64] instances go to nodes with their runtime and resource; a scarce one is given out once, and that is said',
    async () => {
      await world.deploy(WALKER, '1.0.0');
      await untilRunsOn(WALKER, 'left');
      await world.deploy(CAMERA, '1.0.0');
      await untilRunsOn(CAMERA, 'right');
      await world.wish(SECOND_CAMERA, '1.0.0');
      await untilHasNoPlace(SECOND_CAMERA);
      expect(await whyOf(SECOND_CAMERA)).toMatch(/no nodes with with service resources/);
      await untilRunsOn(CAMERA, 'right');
      await world.must('undeploy', SECOND_CAMERA, '--unit', world.systemId, '--wait', '60');
    },
    STORY_MS,
  );

  test(
    '[CM-76] [CM-73] a paused node gives its instances away; when it goes on, nothing moves without a reason',
    async () => {
      await setState('left', 'paused');
      await untilRunsOn(WALKER, 'right');
      await setState('left', 'provisioned');
      await world.untilUnit('left is a member again', ({ nodes }) =>
        nodes.some(({ nodeId, state }) => nodeId === 'left' && state === 'provisioned'),
      );
      await world.deploy(LATE, '1.0.0');
      await untilRunsOn(WALKER, 'right');
      await world.must('undeploy', LATE, '--unit', world.systemId, '--wait', '60');
    },
    STORY_MS,
  );

  test(
    '[W11] [CM-62] [CM-69] a unit configuration gives nodes labels and priorities, and what comes then goes by them',
    async () => {
      await configure('1.0.0', { left: { labels: ['rear'] }, right: { labels: ['front'], priority: 100 } });
      await deployWithLabels(LATE, ['rear']);
      await untilRunsOn(LATE, 'left');
      await world.deploy(SECOND_WALKER, '1.0.0');
      await untilRunsOn(SECOND_WALKER, 'right');
    },
    STORY_MS,
  );

  test(
    '[CM-62] [CM-76] a node that loses a label gives away what needs it, and only that; it runs where the label is then',
    async () => {
      const pid = await pidOn(right, WALKER);
      await configure('2.0.0', { left: {}, right: { labels: ['front'] } });
      await untilHasNoPlace(LATE);
      expect(await whyOf(LATE)).toMatch(/no nodes with instance labels/);
      expect(await pidOn(left, LATE)).toBeUndefined();
      await configure('3.0.0', { left: { labels: ['rear'] }, right: { labels: ['front'] } });
      await untilRunsOn(LATE, 'left');
      expect(await pidOn(right, WALKER)).toBe(pid);
    },
    STORY_MS,
  );

  test(
    '[CM-76] [CM-91] an instance moves off a node that is killed; those of the others are not disturbed',
    async () => {
      const pids = await Promise.all([WALKER, SECOND_WALKER, CAMERA].map((itemId) => pidOn(right, itemId)));
      await configure('4.0.0', { left: { labels: ['rear'] }, right: { labels: ['front', 'rear'] } });
      await untilRunsOn(LATE, 'left');
      await cutPower(left);
      await untilConnected('left', false);
      await untilRunsOn(LATE, 'right');
      const { nodes } = await world.unit.status();
      expect(nodes.find(({ nodeId }) => nodeId === 'left')).toMatchObject({ connected: false, state: 'error' });
      const after = await Promise.all([WALKER, SECOND_WALKER, CAMERA].map((itemId) => pidOn(right, itemId)));
      expect(after).toEqual(pids);
      await world.must('undeploy', LATE, '--unit', world.systemId, '--wait', '60');
    },
    STORY_MS,
  );

  test(
    '[CM-74] [CM-76] [CM-72] an overloaded node gives away what counts against it and keeps what does not; it runs when a node with room returns',
    async () => {
      const pid = await pidOn(right, SECOND_WALKER);
      // More than nothing is too much: what this machine uses is an overload without any load.
      const alertRules = { ram: { minTimeout: 'PT1S', minThreshold: 0.005, maxThreshold: 0.01 } };
      await configure('5.0.0', { left: { labels: ['rear'] }, right: { labels: ['front', 'rear'], alertRules } });
      await untilHasNoPlace(WALKER);
      expect(await whyOf(WALKER)).toMatch(/no runtimes with requested RAM/);
      expect(await pidOn(right, WALKER)).toBeUndefined();
      left = await startNode('left');
      await untilRunsOn(WALKER, 'left');
      // It began with what it ran when it was killed, and was told to stop that.
      await world.until(
        'left runs nothing else',
        () => runningOn(left),
        (list) => list.length === 1 && list[0]!.itemId === WALKER,
      );
      expect(await pidOn(right, SECOND_WALKER)).toBe(pid);
    },
    STORY_MS,
  );
});
