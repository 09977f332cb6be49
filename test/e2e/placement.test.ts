/**
 * Where instances go in a unit of three nodes with two runtimes and one scarce resource, while nodes come and go. The
 * nodes share this machine and with it the names of network namespaces: an instance moves only after it was stopped.
 */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
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

let world: World;
let left: SecondNode;
let right: SecondNode;

async function startNode(nodeId: 'left' | 'right'): Promise<SecondNode> {
  const resourcesConfigFile = join(world.directory, `${nodeId}-resources.cfg`);
  const resources = nodeId === 'right' ? [{ name: 'camera', sharedCount: 1 }] : [];
  await writeFile(resourcesConfigFile, JSON.stringify(resources));
  return SecondNode.start(join(world.directory, nodeId), {
    main: world.unit,
    caFile: world.cloud.layout.rootCa,
    restartPauseMs: 50,
    nodeId,
    runtimeType: 'side',
    overrides: { sm: { resourcesConfigFile } },
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

const setState = (nodeId: string, state: string) =>
  world.rest.send('PUT', `/api/units/${world.systemId}/nodes/${nodeId}/state`, { state });

const deployWithLabels = (itemId: string, labels: readonly string[]) =>
  world.rest.send('PUT', `/api/units/${world.systemId}/deployments/${itemId}`, { version: '1.0.0', labels });

const runningOn = (node: SecondNode) => askControl<RunningInstance[]>(node.layout.sockets.sm, '/instances');

const configure = (version: string, nodes: Readonly<Record<string, object>>) =>
  world.rest.send('PUT', `/api/units/${world.systemId}/unit-config`, {
    formatVersion: '1',
    version,
    nodes: Object.entries(nodes).map(([codename, config]) => ({
      nodeGroupSubject: { codename: 'secondary' },
      node: { codename },
      ...config,
    })),
  });

beforeAll(async () => {
  // The full minute that a lost node is waited for would only make the story longer.
  const cm = { nodeInfoProvider: { smConnectionTimeout: '2s' } };
  world = await World.create({ unit: { config: { cm } } });
  left = await startNode('left');
  right = await startNode('right');
  await world.must('provision', world.unit.provisioningAddress, '--nodes', '3', '--retry-delay', '1');
  await world.untilCloud('the unit is online', (unit) => unit.online);
  await untilConnected('left', true);
  await untilConnected('right', true);
  for (const itemId of [WALKER, SECOND_WALKER, LATE]) await world.publishBusybox(itemId, '1.0.0', SIDE);
  for (const itemId of [CAMERA, SECOND_CAMERA]) {
    await world.publishBusybox(itemId, '1.0.0', { ...SIDE, resources: ['camera'] });
  }
}, STORY_MS);

afterAll(async () => {
  await right?.stop();
  await left?.stop();
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
      await world.until(
        'the second has no place',
        () => world.cloudInstances(SECOND_CAMERA),
        (list) => list.length === 1 && list[0]!.state === 'failed',
      );
      const { reasons } = JSON.parse(await world.must('--json', 'why', SECOND_CAMERA)) as WhyReport;
      expect(JSON.stringify(reasons)).toMatch(/camera/);
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
      await world.must('undeploy', LATE, '--unit', world.systemId, '--wait', '60');
    },
    STORY_MS,
  );

  test(
    '[CM-76] [CM-72] what only a dead node could run is reported and disturbs nobody; it runs when the node returns',
    async () => {
      const { pid } = (await runningOn(right)).find(({ itemId }) => itemId === WALKER)!;
      await left.stop();
      await untilConnected('left', false);
      await deployWithLabels(LATE, ['rear']);
      await world.until(
        'it has no place',
        () => world.cloudInstances(LATE),
        (list) => list.length === 1 && list[0]!.state === 'failed',
      );
      left = await startNode('left');
      await untilRunsOn(LATE, 'left');
      expect((await runningOn(right)).find(({ itemId }) => itemId === WALKER)?.pid).toBe(pid);
    },
    STORY_MS,
  );
});
