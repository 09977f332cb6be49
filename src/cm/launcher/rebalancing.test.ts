import { create } from '@bufbuild/protobuf';
import { afterEach, describe, expect, test } from 'vitest';
import { sm as api } from '../../api/contracts.ts';
import type { ScriptedSm } from '../nodes/scripted-sm-for-tests.ts';
import { iamNode, request, TestUnit, type TestUnitOptions, until } from './unit-for-tests.ts';

let unit: TestUnit | undefined;

async function createUnit(options: TestUnitOptions = {}): Promise<TestUnit> {
  unit = await TestUnit.create(options);
  return unit;
}

afterEach(async () => {
  await unit?.close();
  unit = undefined;
});

const TWO_NODES = [iamNode('n1'), iamNode('n2', { maxDmips: 9000 })];

/** A system quota alert for the CPU of the node. */
function alert(sm: ScriptedSm, status: string): void {
  const item = { parameter: 'cpu', value: 90n, status };
  sm.say({
    case: 'alert',
    value: create(api.AlertSchema, { AlertItem: { case: 'systemQuotaAlert', value: item } }),
  });
}

describe('nodes come and go', () => {
  test('[CM-76] instances of a node that is lost move to another one, and its own are stopped when it returns', async () => {
    const unit = await createUnit({ nodes: TWO_NODES, smConnectionTimeoutMs: 60 });
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    const first = unit.connect('n1');
    const second = unit.connect('n2');
    await until(() => unit.nodes.nodes().every(({ isConnected }) => isConnected));
    await unit.launch(request('a', '1.0.0'));
    expect(unit.summary()).toEqual(['a/0 1.0.0 n1 active']);
    await first.stop();
    await until(() => unit.summary()[0] === 'a/0 1.0.0 n2 active');
    expect(second.running.size).toBe(1);
    const back = unit.connect('n1', { running: first.running });
    await until(() => back.running.size === 0);
    expect(unit.summary()).toEqual(['a/0 1.0.0 n2 active']);
  });

  test('[CM-76] an instance without a node starts when one connects', async () => {
    const unit = await createUnit({ smConnectionTimeoutMs: 30 });
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    await until(() => unit.nodes.node('main')!.state === 'error');
    await unit.launch(request('a', '1.0.0'));
    expect(unit.summary()[0]).toContain('failed');
    unit.connect('main');
    await until(() => unit.summary()[0] === 'a/0 1.0.0 main active');
  });

  test('[CM-61] [CM-76] a paused node lets go of its services before they start elsewhere; components stay', async () => {
    const unit = await createUnit({ nodes: TWO_NODES });
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    unit.addItem({ itemId: 'c', version: '1.0.0', config: { runtimes: [{ codename: 'boot' }] } });
    const first = unit.connect('n1', { runtimeTypes: ['runc', 'boot'] });
    const second = unit.connect('n2');
    await unit.launch(request('a', '1.0.0'), request('c', '1.0.0', 1, { type: 'component' }));
    expect([...first.running.keys()]).toEqual(['a/subject/0', 'c/subject/0']);
    unit.nodes.updateFromIam(iamNode('n1', { state: 'paused' }));
    await until(() => second.running.has('a/subject/0'));
    expect([...first.running.keys()]).toEqual(['c/subject/0']);
  });

  test('[CM-77] the CM waits for known nodes at start, then goes on without them', async () => {
    const unit = await createUnit({ nodes: TWO_NODES });
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    const first = unit.connect('n1');
    unit.connect('n2');
    await unit.launch(request('a', '1.0.0'));
    expect(unit.summary()).toEqual(['a/0 1.0.0 n1 active']);
    await first.stop();
    await unit.shutDown();
    await unit.boot({ nodesConnectionTimeoutMs: 50 });
    expect(unit.summary()).toEqual(['a/0 1.0.0 n1 activating']);
    unit.connect('n2');
    await until(() => unit.changes.some(({ nodeId, state }) => nodeId === 'n1' && state === 'failed'));
  });

  test('a node that reports something else than it shall run is told again', async () => {
    const unit = await createUnit();
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    const first = unit.connect('main');
    await unit.launch(request('a', '1.0.0'));
    await first.stop();
    const second = unit.connect('main');
    await until(() => second.running.has('a/subject/0'));
    expect(second.updates).toHaveLength(1);
  });

  test('statuses come from the node on which the instance is, word for word', async () => {
    const unit = await createUnit();
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    const sm = unit.connect('main', { outcome: () => ({ state: 'failed', message: 'exit code 3' }) });
    await unit.launch(request('a', '1.0.0'));
    expect(unit.summary()).toEqual(['a/0 1.0.0 main failed exit code 3']);
    sm.reportOne('a/subject/0', 'active');
    await until(() => unit.launcher.statuses()[0]!.state === 'active');
    expect(unit.changes.at(-1)!.state).toBe('active');
  });

  test('what a node brought along is part of the unit until the node leaves it, not while it is only away', async () => {
    const unit = await createUnit({ nodes: [iamNode('main'), iamNode('n2')] });
    unit.connect('main', { preinstalled: [{ itemId: 'rootfs', version: '1.0.0' }] });
    const n2 = unit.connect('n2', { preinstalled: [{ itemId: 'boot', version: '1.0.0' }] });
    const brought = () => unit.launcher.statuses().map(({ ident, nodeId }) => `${ident.itemId} of ${nodeId}`);
    await until(() => brought().length === 2);
    await n2.stop();
    await until(() => !unit.nodes.node('n2')!.isConnected);
    expect(brought()).toContain('boot of n2');
    unit.nodes.updateFromIam(iamNode('n2', { state: 'unprovisioned' }));
    expect(brought()).toEqual(['rootfs of main']);
  });

  test('preinstalled components are reported as such and never stopped', async () => {
    const unit = await createUnit();
    const sm = unit.connect('main', { preinstalled: [{ itemId: 'rootfs', version: '1.0.0' }] });
    await unit.launch();
    expect(unit.summary()).toEqual(['rootfs/0 1.0.0 main active']);
    expect(unit.launcher.statuses()[0]!.ident.preinstalled).toBe(true);
    expect(sm.updates.every(({ stopInstances }) => stopInstances.length === 0)).toBe(true);
  });
});

test('[R-04] a CM that does not know what shall run stops nothing, until it is told', async () => {
  const known = await createUnit();
  known.addItem({ itemId: 'a', version: '1.0.0' });
  const before = known.connect('main');
  await known.launch(request('a', '1.0.0'));
  const running = new Map(before.running);
  await known.close();

  let isInCharge = false;
  const blank = await createUnit({ nodes: [iamNode('main'), iamNode('other')], isInCharge: () => isInCharge });
  blank.addItem({ itemId: 'a', version: '1.0.0' });
  const main = blank.connect('main', { running });
  const other = blank.connect('other');
  await until(() => blank.nodes.nodes().every(({ isConnected }) => isConnected));
  blank.nodes.updateFromIam(iamNode('other', { maxDmips: 9 }));
  main.reportAll();
  other.reportAll();
  await until(() => main.received.length > 0);
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect([...main.updates, ...other.updates]).toEqual([]);

  isInCharge = true;
  await blank.launch(request('a', '1.0.0'));
  expect(blank.summary()).toEqual(['a/0 1.0.0 main active']);
  expect(main.starts).toBe(0);
});

describe('balance', () => {
  const config = {
    formatVersion: '1',
    version: '1.0.0',
    nodes: [
      {
        nodeGroupSubject: { codename: 'generic' },
        alertRules: { cpu: { minThreshold: 50, maxThreshold: 60 } },
      },
    ],
  };

  /** Two instances on `n1`, then `n2` appears and `n1` raises an alert. Resolves when the round has ended. */
  async function overload(balancingPolicy: 'enabled' | 'disabled'): Promise<TestUnit> {
    const away = iamNode('n2', { state: 'unprovisioned' });
    const unit = await createUnit({ nodes: [iamNode('n1'), away] });
    const quotas = { cpuDMIPSLimit: 6000 };
    unit.addItem({ itemId: 'a', version: '1.0.0', config: { quotas } });
    unit.addItem({ itemId: 'b', version: '1.0.0', config: { quotas, balancingPolicy } });
    await unit.config.apply(config, unit.signal);
    const first = unit.connect('n1');
    await unit.launch(request('a', '1.0.0'), request('b', '1.0.0'));
    const second = unit.connect('n2');
    unit.nodes.updateFromIam(iamNode('n2'));
    await until(() => second.updates.length > 0);
    expect(unit.summary()).toEqual(['a/0 1.0.0 n1 active', 'b/0 1.0.0 n1 active']);
    first.average = { cpu: 7000, ram: 0 };
    const before = second.updates.length;
    alert(first, 'raise');
    await until(() => second.updates.length > before && unit.summary().every((line) => line.endsWith('active')));
    return unit;
  }

  test('[CM-74] an overloaded node that raises an alert gives instances away', async () => {
    const unit = await overload('enabled');
    expect(unit.summary()).toEqual(['a/0 1.0.0 n1 active', 'b/0 1.0.0 n2 active']);
  });

  test('[CM-75] an instance whose item forbids moving it stays, and another one moves instead', async () => {
    const unit = await overload('disabled');
    expect(unit.summary()).toEqual(['a/0 1.0.0 n2 active', 'b/0 1.0.0 n1 active']);
  });

  test('[CM-74] alerts that continue cause one round, not one each', async () => {
    const unit = await createUnit();
    const sm = unit.connect('main');
    await unit.launch();
    const rounds = () => sm.updates.length;
    const before = rounds();
    alert(sm, 'raise');
    await until(() => rounds() === before + 1);
    for (let index = 0; index < 3; index += 1) alert(sm, 'continue');
    alert(sm, 'fall');
    sm.say({ case: 'updateInstancesStatus', value: create(api.UpdateInstancesStatusSchema, {}) });
    await unit.launch();
    expect(rounds()).toBe(before + 2);
  });
});

describe('what is wanted', () => {
  test('[CM-82] an instance runs only while its unit subject is there', async () => {
    const unit = await createUnit();
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    const sm = unit.connect('main');
    unit.launcher.setSubjects(['driver']);
    const subject = { id: 'driver', type: 'user', isUnitSubject: true } as const;
    await unit.launch(request('a', '1.0.0', 1, { subject }));
    expect(sm.running.size).toBe(1);
    unit.launcher.setSubjects([]);
    await until(() => sm.running.size === 0);
    expect(unit.summary()).toEqual([]);
    unit.launcher.setSubjects(['driver']);
    await until(() => unit.summary()[0] === 'a/0 1.0.0 main active');
  });

  test('[CM-62] labels that change re-place an instance only where it no longer fits', async () => {
    const unit = await createUnit({ nodes: [iamNode('n1'), iamNode('n2', { nodeType: 'edge', maxDmips: 9000 })] });
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    const nodes = [{ nodeGroupSubject: { codename: 'edge' }, labels: ['edge'] }];
    await unit.config.apply({ formatVersion: '1', version: '1.0.0', nodes }, unit.signal);
    unit.connect('n1');
    unit.connect('n2');
    await unit.launch(request('a', '1.0.0'));
    expect(unit.summary()).toEqual(['a/0 1.0.0 n1 active']);
    await unit.launch(request('a', '1.0.0', 1, { labels: ['edge'] }));
    expect(unit.summary()).toEqual(['a/0 1.0.0 n2 active']);
    await unit.launch(request('a', '1.0.0'));
    expect(unit.summary()).toEqual(['a/0 1.0.0 n2 active']);
  });

  test('[CM-81] overridden variables reach the matching instances, expire, and are back after a restart', async () => {
    const unit = await createUnit({ checkOverridesMs: 20 });
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    const sm = unit.connect('main');
    await unit.launch(request('a', '1.0.0', 2));
    const vars = (sm: ScriptedSm) =>
      [...sm.running.values()].map(({ envVars }) => envVars.map(({ name, value }) => `${name}=${value}`));
    const reports: string[][] = [];
    unit.launcher.subscribeToOverrides((list) =>
      reports.push(list.map(({ ident, name }) => `${ident.itemId}/${ident.instance} ${name}`)),
    );
    unit.launcher.setOverrides([
      { filter: { itemId: 'a' }, variables: [{ name: 'B', value: '1' }] },
      { filter: { instance: 1 }, variables: [{ name: 'A', value: '2', ttlMs: Date.now() + 300 }] },
    ]);
    await until(() => vars(sm)[0]!.length === 1);
    await until(() => reports.length > 0);
    expect(reports.at(-1)).toEqual(['a/0 B', 'a/1 A', 'a/1 B']);
    expect(vars(sm)).toEqual([['B=1'], ['A=2', 'B=1']]);
    await until(() => vars(sm)[1]!.length === 1);
    expect(vars(sm)).toEqual([['B=1'], ['B=1']]);

    await unit.shutDown();
    await unit.boot();
    const again = unit.connect('main', { running: sm.running });
    await until(() => unit.summary().every((line) => line.endsWith('active')));
    await unit.launch(request('a', '1.0.0', 2));
    expect(again.starts).toBe(0);
  });

  test('[CM-81] what changed of overridden variables while the CM or a node was away reaches the node', async () => {
    const unit = await createUnit();
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    const first = unit.connect('main');
    await unit.launch(request('a', '1.0.0'));
    const vars = (sm: ScriptedSm) =>
      sm.running.get('a/subject/0')!.envVars.map(({ name, value }) => `${name}=${value}`);
    const ttlMs = Date.now() + 100;
    unit.launcher.setOverrides([{ filter: {}, variables: [{ name: 'A', value: '1', ttlMs }] }]);
    await until(() => vars(first).length === 1);
    await unit.shutDown();
    await until(() => Date.now() > ttlMs);
    await unit.boot();
    const second = unit.connect('main', { running: first.running });
    await until(() => vars(second).length === 0);

    for (const value of ['2', '3']) {
      await second.stop();
      unit.launcher.setOverrides([{ filter: {}, variables: [{ name: 'A', value }] }]);
      await unit.shutDown();
      await unit.boot();
      const next = unit.connect('main', { running: first.running });
      await until(() => vars(next)[0] === `A=${value}`);
      await next.stop();
    }
  });

  test('[CM-31] a component without a number runs once on each runtime of its type', async () => {
    const unit = await createUnit({ nodes: TWO_NODES });
    unit.addItem({ itemId: 'c', version: '1.0.0', config: { runtimes: [{ codename: 'boot' }] } });
    for (const nodeId of ['n1', 'n2']) unit.connect(nodeId, { runtimeTypes: ['runc', 'boot'] });
    await unit.launch(request('c', '1.0.0', 0, { type: 'component' }));
    expect(unit.summary()).toEqual(['c/0 1.0.0 n1 active', 'c/1 1.0.0 n2 active']);
    await unit.launch(request('c', '1.0.0', 0, { type: 'component' }));
    expect(unit.summary()).toEqual(['c/0 1.0.0 n1 active', 'c/1 1.0.0 n2 active']);
  });

  test('[CM-79] the data of an instance that is no longer wanted waits for it, and goes with it for good', async () => {
    const { access, writeFile } = await import('node:fs/promises');
    const unit = await createUnit();
    unit.addItem({ itemId: 'a', version: '1.0.0', config: { quotas: { storageLimit: 4096 } } });
    const sm = unit.connect('main');
    await unit.launch(request('a', '1.0.0'));
    const file = `${unit.directory}/storages/a/subject/0/file`;
    await writeFile(file, 'x');
    await unit.launch();
    expect(sm.running.size).toBe(0);
    await access(file);
    await unit.launch(request('a', '1.0.0'));
    expect(unit.summary()).toEqual(['a/0 1.0.0 main active']);
    await unit.launch();
    await unit.shutDown();
    await unit.boot({ instanceTtlMs: 0 });
    await expect(access(file)).rejects.toThrow();
  });

  test('[CM-79] an old version that is forgotten does not take the data of the new one with it', async () => {
    const { access, writeFile } = await import('node:fs/promises');
    const unit = await createUnit();
    for (const version of ['1.0.0', '2.0.0']) {
      unit.addItem({ itemId: 'a', version, config: { quotas: { storageLimit: 4096 } } });
    }
    const sm = unit.connect('main');
    await unit.launch(request('a', '1.0.0'));
    const file = `${unit.directory}/storages/a/subject/0/file`;
    await writeFile(file, 'x');
    await unit.launch(request('a', '2.0.0'));
    unit.items.delete('a 1.0.0');
    await unit.shutDown();
    await unit.boot({ instanceTtlMs: 0 });
    await access(file);
    expect(sm.running.get('a/subject/0')!.uid).toBe(5000);
  });
});
