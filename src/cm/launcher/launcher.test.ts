import { createHash } from 'node:crypto';
import { afterEach, describe, expect, test } from 'vitest';
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

describe('one node', () => {
  test('[CM-80] a launch sends the node one message with everything it shall run and ends when it answered', async () => {
    const unit = await createUnit();
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    const sm = unit.connect('main');
    await unit.launch(request('a', '1.0.0', 2));
    expect(unit.summary()).toEqual(['a/0 1.0.0 main active', 'a/1 1.0.0 main active']);
    expect(sm.updates).toHaveLength(1);
    expect(sm.updates[0]!.startInstances.map(({ runtimeId }) => runtimeId)).toEqual(['runc@main', 'runc@main']);
    expect(unit.changes.map(({ state }) => state)).toContain('activating');
  });

  test('[CM-130] a CM that restarts and launches the same again leaves what runs alone', async () => {
    const unit = await createUnit();
    unit.addItem({ itemId: 'a', version: '1.0.0', config: { alertRules: { cpu: { maxThreshold: 80 } } } });
    const first = unit.connect('main');
    await unit.launch(request('a', '1.0.0', 2));
    await unit.shutDown();
    await first.ended;

    await unit.boot();
    const second = unit.connect('main', { running: first.running });
    await until(() => unit.summary().every((line) => line.endsWith('active')));
    await unit.launch(request('a', '1.0.0', 2));
    expect(unit.summary()).toEqual(['a/0 1.0.0 main active', 'a/1 1.0.0 main active']);
    expect(second.updates).toHaveLength(1);
    expect(second.starts).toBe(0);
  });

  test('[CM-78] instances have their own uid and share the gid of their item, also after a restart', async () => {
    const unit = await createUnit();
    for (const itemId of ['a', 'b']) unit.addItem({ itemId, version: '1.0.0' });
    const sm = unit.connect('main');
    await unit.launch(request('a', '1.0.0', 2), request('b', '1.0.0'));
    const ids = () => [...sm.running.values()].map(({ uid, gid }) => [uid, gid]);
    expect(ids()).toEqual([
      [5000, 5000],
      [5001, 5000],
      [5002, 5001],
    ]);
    await unit.launch(request('b', '1.0.0'));
    expect(ids()).toEqual([[5002, 5001]]);
  });

  test('[CM-72] what cannot be placed is failed with its reason, the rest runs', async () => {
    const unit = await createUnit();
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    unit.addItem({ itemId: 'b', version: '1.0.0', architecture: 'arm64' });
    unit.connect('main');
    await unit.launch(request('a', '1.0.0'), request('b', '1.0.0'), request('c', '1.0.0'));
    expect(unit.summary()).toEqual([
      'a/0 1.0.0 main active',
      'b/0 1.0.0 - failed no runtimes with requested platform',
      'c/0 1.0.0 - failed item not found',
    ]);
  });

  test('a launch waits for the list of a node that is provisioned', async () => {
    const unit = await createUnit();
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    const launched = unit.launch(request('a', '1.0.0'));
    unit.connect('main');
    await launched;
    expect(unit.summary()).toEqual(['a/0 1.0.0 main active']);
  });

  test('a launch that is canceled while it waits for nodes changes nothing', async () => {
    const unit = await createUnit();
    const cancel = new AbortController();
    const launched = unit.launcher.launch([request('a', '1.0.0')], cancel.signal);
    cancel.abort();
    await expect(launched).rejects.toMatchObject({ code: 'canceled' });
    expect(unit.summary()).toEqual([]);
  });

  test('never are two messages without an answer on the way to a node', async () => {
    const unit = await createUnit();
    for (const itemId of ['a', 'b']) unit.addItem({ itemId, version: '1.0.0' });
    const sm = unit.connect('main', { answers: false });
    const cancel = new AbortController();
    const first = unit.launcher.launch([request('a', '1.0.0')], cancel.signal);
    await until(() => sm.updates.length === 1);
    cancel.abort();
    await expect(first).rejects.toMatchObject({ code: 'canceled' });
    const second = unit.launch(request('b', '1.0.0'));
    await until(() => unit.launcher.statuses()[0]?.ident.itemId === 'b');
    expect(sm.updates).toHaveLength(1);
    sm.reportAll();
    await until(() => sm.updates.length === 2);
    sm.reportAll();
    await second;
    expect(unit.summary()).toEqual(['b/0 1.0.0 main active']);
    expect(sm.updates[1]!.stopInstances.map(({ itemId }) => itemId)).toEqual(['a']);
  });

  test('a service that is still activating when its node does not answer has failed', async () => {
    const unit = await createUnit({ nodeAnswerTimeoutMs: 50 });
    unit.addItem({ itemId: 'a', version: '1.0.0' });
    unit.connect('main', { answers: false });
    await unit.launch(request('a', '1.0.0'));
    expect(unit.summary()).toEqual(['a/0 1.0.0 main failed code 7']);
  });

  test('[CM-101] directories of storage and state are there, with the owner that the instance gets', async () => {
    const { stat } = await import('node:fs/promises');
    const unit = await createUnit();
    unit.addItem({ itemId: 'a', version: '1.0.0', config: { quotas: { storageLimit: 4096, stateLimit: 4096 } } });
    const sm = unit.connect('main');
    await unit.launch(request('a', '1.0.0'));
    const info = sm.running.get('a/subject/0')!;
    expect([info.storagePath, info.statePath]).toEqual(['a/subject/0', 'a/subject/0/state.dat']);
    const storage = await stat(`${unit.directory}/storages/${info.storagePath}`);
    const state = await stat(`${unit.directory}/states/${info.statePath}`);
    expect([storage.uid, storage.gid, state.uid, state.gid]).toEqual([info.uid, info.gid, info.uid, info.gid]);
    expect(state.mode & 0o777).toBe(0o600);
  });

  test('[CM-107] the checksum of a state is part of the status of its instance and follows it', async () => {
    const { writeFile } = await import('node:fs/promises');
    const unit = await createUnit({ reportStateChecksum: true });
    unit.addItem({ itemId: 'a', version: '1.0.0', config: { quotas: { stateLimit: 4096 } } });
    unit.connect('main');
    await unit.launch(request('a', '1.0.0'));
    const sha3 = (text: string) => createHash('sha3-224').update(text).digest('hex');
    expect(unit.launcher.statuses()[0]!.stateChecksum).toBe(sha3(''));
    await writeFile(`${unit.directory}/states/a/subject/0/state.dat`, 'new');
    await until(() => unit.changes.at(-1)!.stateChecksum === sha3('new'));
    expect(unit.sent.map(({ messageType }) => messageType)).toContain('newState');
  });

  test('[CM-11] a written state changes no status when checksums are not reported', async () => {
    const { writeFile } = await import('node:fs/promises');
    const unit = await createUnit();
    unit.addItem({ itemId: 'a', version: '1.0.0', config: { quotas: { stateLimit: 4096 } } });
    unit.connect('main');
    await unit.launch(request('a', '1.0.0'));
    const told = unit.changes.length;
    await writeFile(`${unit.directory}/states/a/subject/0/state.dat`, 'new');
    await until(() => unit.sent.some((message) => message.messageType === 'newState' && message.state === 'new'));
    await unit.launch(request('a', '1.0.0'));
    expect(unit.changes).toHaveLength(told);
  });

  test('[CM-73] a new version starts where the old one ran, and the old one is not listed as to be stopped', async () => {
    const unit = await createUnit({ nodes: [iamNode('n1'), iamNode('n2', { maxDmips: 20_000 })] });
    for (const version of ['1.0.0', '2.0.0']) unit.addItem({ itemId: 'a', version });
    const sm = unit.connect('n1');
    unit.nodes.updateFromIam(iamNode('n2', { maxDmips: 20_000, state: 'unprovisioned' }));
    await unit.launch(request('a', '1.0.0'));
    expect(unit.summary()).toEqual(['a/0 1.0.0 n1 active']);
    unit.connect('n2');
    unit.nodes.updateFromIam(iamNode('n2', { maxDmips: 20_000 }));
    await unit.launch(request('a', '2.0.0'));
    expect(unit.summary()).toEqual(['a/0 2.0.0 n1 active']);
    expect(sm.updates.at(-1)!.stopInstances).toEqual([]);
  });

  test('[CM-123] an instance that has no place because of a resource is told with it, once', async () => {
    const unit = await createUnit();
    unit.addItem({ itemId: 'a', version: '1.0.0', config: { resources: [{ name: 'can0' }] } });
    unit.connect('main', { resources: [{ name: 'can0', sharedCount: 1 }] });
    await unit.launch(request('a', '1.0.0', 2));
    await unit.launch(request('a', '1.0.0', 2));
    const refused = { nodeId: 'main', resource: 'can0', isTaken: true };
    expect(unit.refused).toEqual([{ ...refused, ident: expect.objectContaining({ itemId: 'a', instance: 1 }) }]);
    expect(unit.decisions.at(-1)).toBe(
      'a/subject/1 version 1.0.0 has no place: all shares of the resource can0 on main are taken',
    );
  });

  test('every decision is told with its reason, once; what would happen can be asked', async () => {
    const unit = await createUnit();
    for (const itemId of ['a', 'b']) unit.addItem({ itemId, version: '1.0.0' });
    unit.connect('main');
    const requests = [request('a', '1.0.0'), request('b', '1.0.0', 1, { labels: ['x'] })];
    await unit.launch(...requests);
    await unit.launch(...requests);
    expect(unit.decisions).toEqual([
      'a/subject/0 version 1.0.0 runs on main: the only node that fits',
      'b/subject/0 version 1.0.0 has no place: no nodes with instance labels',
    ]);
    const [a, b] = await unit.launcher.explain();
    expect(a!.place).toEqual({ nodeId: 'main', runtimeId: 'runc@main' });
    expect(b!.notChosen).toEqual([{ nodeId: 'main', because: 'the node does not have the label x' }]);
    await unit.launch();
    expect(unit.decisions.slice(2)).toEqual([
      'a/subject/0 version 1.0.0 stops: no longer wanted',
      'b/subject/0 version 1.0.0 stops: no longer wanted',
    ]);
  });
});
