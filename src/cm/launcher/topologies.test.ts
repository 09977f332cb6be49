/** The same modules with one node and with many, all over real gRPC. */
import { afterEach, describe, expect, test } from 'vitest';
import { fullStatus } from '../status/index.ts';
import { iamNode, request, TestUnit, type TestUnitOptions, until } from './unit-for-tests.ts';

let unit: TestUnit | undefined;

async function createUnit(options: TestUnitOptions): Promise<TestUnit> {
  unit = await TestUnit.create(options);
  return unit;
}

afterEach(async () => {
  await unit?.close();
  unit = undefined;
});

const ITEMS = ['a', 'b', 'c'];

describe('one star of nodes', () => {
  test.each([
    ['one node', ['main']],
    ['three nodes', ['main', 'left', 'right']],
  ])('[X-09] with %s all items run, each instance once', async (_, nodeIds) => {
    const unit = await createUnit({ nodes: nodeIds.map((nodeId) => iamNode(nodeId)) });
    for (const itemId of ITEMS) unit.addItem({ itemId, version: '1.0.0' });
    const sms = nodeIds.map((nodeId) => unit.connect(nodeId));
    await unit.launch(...ITEMS.map((itemId) => request(itemId, '1.0.0', 2)));
    expect(unit.launcher.statuses().map(({ state }) => state)).toEqual(Array(6).fill('active'));
    const running = sms.flatMap((sm) => [...sm.running.keys()]);
    expect(running.sort()).toEqual(ITEMS.flatMap((itemId) => [`${itemId}/subject/0`, `${itemId}/subject/1`]));
    // Every node is told, also the one that has nothing to run.
    for (const sm of sms) expect(sm.updates.length).toBeGreaterThan(0);
  });

  test('[X-10] with nodes of two architectures each item runs where its image fits', async () => {
    const unit = await createUnit({ nodes: [iamNode('pc'), iamNode('board')] });
    unit.addItem({ itemId: 'for-pc', version: '1.0.0', architecture: 'amd64' });
    unit.addItem({ itemId: 'for-board', version: '1.0.0', architecture: 'arm64' });
    unit.addItem({ itemId: 'for-nobody', version: '1.0.0', architecture: 'riscv64' });
    unit.connect('pc');
    unit.connect('board', { architecture: 'arm64' });
    await unit.launch(...['for-pc', 'for-board', 'for-nobody'].map((itemId) => request(itemId, '1.0.0')));
    expect(unit.summary().sort()).toEqual([
      'for-board/0 1.0.0 board active',
      'for-nobody/0 1.0.0 - failed no runtimes with requested platform',
      'for-pc/0 1.0.0 pc active',
    ]);
  });

  test('[X-12] a node that is added while the unit runs gets what had no place, and nothing that runs moves', async () => {
    const unit = await createUnit({ nodes: [iamNode('main')] });
    unit.addItem({ itemId: 'here', version: '1.0.0' });
    unit.addItem({ itemId: 'there', version: '1.0.0', config: { runtimes: [{ codename: 'xrun' }] } });
    const main = unit.connect('main');
    await unit.launch(request('here', '1.0.0'), request('there', '1.0.0'));
    expect(unit.summary().sort()).toEqual([
      'here/0 1.0.0 main active',
      'there/0 1.0.0 - failed no runtimes with requested runtime type',
    ]);
    // First it appears at IAM, blank; then it is provisioned; then its service manager comes.
    unit.nodes.updateFromIam(iamNode('added', { state: 'unprovisioned' }));
    const reported = () => unit.nodes.nodes().map(({ nodeId, state }) => `${nodeId} ${state}`);
    expect(reported()).toEqual(['main provisioned', 'added unprovisioned']);
    unit.nodes.updateFromIam(iamNode('added'));
    const added = unit.connect('added', { runtimeTypes: ['xrun'] });
    await until(() => unit.summary().includes('there/0 1.0.0 added active'));
    expect([...added.running.keys()]).toEqual(['there/subject/0']);
    expect(main.starts).toBe(1);
  });

  test('[X-13] the 129th node is refused, and the unit goes on', async () => {
    const nodes = Array.from({ length: 127 }, (_, index) => iamNode(`n${index}`, { state: 'unprovisioned' }));
    const unit = await createUnit({ nodes: [iamNode('main'), ...nodes] });
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    const stranger = unit.connect('stranger');
    unit.connect('main');
    await unit.launch(request('a', '1.0.0'));
    expect(unit.summary()).toEqual(['a/0 1.0.0 main active']);
    expect(unit.controller.isConnected('stranger')).toBe(false);
    expect(stranger.updates).toEqual([]);
  });
});

test('[X-03] an error of a node arrives at the cloud with its code, its exit code and its text', async () => {
  const unit = await createUnit({ nodes: [iamNode('main')] });
  unit.addItem({ itemId: 'a', version: '1.0.0' });
  unit.connect('main', { outcome: () => ({ state: 'failed', aosCode: 10, exitCode: 74, message: 'wrong digest' }) });
  await unit.launch(request('a', '1.0.0'));
  const { instances } = fullStatus({
    unitConfig: unit.config.status(),
    nodes: unit.nodes.nodes(),
    nodeUpdateErrors: new Map(),
    items: [],
    instances: unit.launcher.statuses(),
    subjects: [],
  });
  expect(instances?.[0]?.instances).toMatchObject([
    { state: 'failed', errorInfo: { aosCode: 10, exitCode: 74, message: 'wrong digest' } },
  ]);
});
