/** Stories of a small fleet, as its units see them. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { eventually, TestCloud } from '../cloud-for-tests.ts';
import { ScriptedUnit } from '../scripted-unit-for-tests.ts';
import type { Campaign } from '../store/campaigns.ts';
import { stateChecksum } from '../store/instance-states.ts';
import type { UnitProgress } from './campaign-progress.ts';

const STORY_MS = 60_000;

let cloud: TestCloud;
const units: ScriptedUnit[] = [];

beforeAll(async () => {
  cloud = await TestCloud.start();
});
afterAll(() => cloud.close());
afterEach(() => {
  for (const unit of units.splice(0)) unit.disconnect();
});

async function online(): Promise<ScriptedUnit> {
  const unit = await ScriptedUnit.register(cloud);
  units.push(unit);
  await unit.comeOnline();
  return unit;
}

/** What the unit is told to have of an item. */
async function told(unit: ScriptedUnit, itemId: string): Promise<{ version?: string; subjects: string[] }> {
  const { data } = await unit.next('desiredStatus');
  const version = data.items?.find(({ item }) => item.id === itemId)?.version;
  const subjects = data.instances?.filter(({ item }) => item.id === itemId).map(({ subject }) => subject.id) ?? [];
  return { ...(version !== undefined && { version }), subjects };
}

function report(unit: ScriptedUnit, id: string, version: string, state: 'active' | 'failed' = 'active'): string {
  const errorInfo = state === 'failed' ? { aosCode: 1, exitCode: 0, message: 'it crashed' } : undefined;
  return unit.sendStatus({
    ...{ isDeltaInfo: false, nodes: [], subjects: [] },
    items: [{ item: { id, type: 'service' }, version, state: 'installed', errorInfo: undefined }],
    instances: [
      {
        ...{ item: { id, type: 'service' }, subject: { id: 'riders' }, version },
        instances: [{ instance: 0, node: { codename: 'main' }, runtime: { codename: 'r' }, state, errorInfo }],
      },
    ],
  });
}

const put = (path: string, body: object = {}) => cloud.must('PUT', path, body);
const campaignOf = (id: string) => cloud.must<Campaign & { units: UnitProgress[] }>('GET', `/api/campaigns/${id}`);

describe('subjects', { timeout: STORY_MS }, () => {
  test('units of a subject get what it has subscribed to, and lose it with the subject', async () => {
    const unit = await online();
    await cloud.publish('maps', '1.0.0');
    await put('/api/subjects/drivers', { priority: 4 });
    await put('/api/subjects/drivers/items/maps', { numInstances: 2 });
    await put(`/api/subjects/drivers/units/${unit.systemId}`);
    const { data } = await unit.next('desiredStatus');
    expect(data.items).toMatchObject([{ item: { id: 'maps' }, version: '1.0.0' }]);
    expect(data.instances).toMatchObject([{ subject: { id: 'drivers' }, numInstances: 2, priority: 4 }]);
    expect(data.subjects).toEqual([{ identity: { id: 'drivers' }, type: 'group', isReportedFromUnit: false }]);
    const { blobs } = await cloud.publish('maps', '1.1.0');
    unit.send({ messageType: 'requestBlobUrls', correlationId: 'c', digests: [blobs[0]!.digest] });
    expect((await unit.next('blobUrls')).data.items).toHaveLength(1);
    expect((await cloud.ask('DELETE', '/api/items/maps/1.0.0')).status).toBe(409);
    await cloud.must('DELETE', '/api/subjects/drivers');
    expect(await told(unit, 'maps')).toEqual({ subjects: [] });
  });

  test('a user is at one unit at a time, and takes states along', async () => {
    const [first, second] = [await online(), await online()];
    await cloud.publish('wallet', '1.0.0');
    await put('/api/subjects/alice', { type: 'user', reported: true });
    await put('/api/subjects/alice/items/wallet');
    await put(`/api/subjects/alice/units/${first.systemId}`);
    const { data } = await first.next('desiredStatus');
    expect(data.subjects).toEqual([{ identity: { id: 'alice' }, type: 'user', isReportedFromUnit: true }]);
    const instance = { item: { id: 'wallet' }, subject: { id: 'alice' }, instance: 0 } as const;
    const state = 'two euros';
    await first.acked(first.send({ messageType: 'newState', ...instance, state, stateChecksum: stateChecksum(state) }));
    await put(`/api/subjects/alice/units/${second.systemId}`);
    expect(await told(first, 'wallet')).toEqual({ subjects: [] });
    expect(await told(second, 'wallet')).toEqual({ version: '1.0.0', subjects: ['alice'] });
    second.send({ messageType: 'stateRequest', ...instance, default: false });
    expect((await second.next('updateState')).data).toMatchObject({ ...instance, state });
  });

  test('a user that leaves one unit, and comes to another later, takes along what was left last', async () => {
    const [first, second, third] = [await online(), await online(), await online()];
    await cloud.publish('purse', '1.0.0');
    await put('/api/subjects/bob', { type: 'user' });
    await put('/api/subjects/bob/items/purse');
    const instance = { item: { id: 'purse' }, subject: { id: 'bob' }, instance: 0 } as const;
    const save = (unit: ScriptedUnit, state: string) =>
      unit.acked(unit.send({ messageType: 'newState', ...instance, state, stateChecksum: stateChecksum(state) }));
    const at = (unit: ScriptedUnit) => `/api/subjects/bob/units/${unit.systemId}`;
    const leave = (unit: ScriptedUnit) => cloud.must('DELETE', at(unit));
    const statesOf = async (unit: ScriptedUnit) =>
      (await cloud.must<{ state: string }[]>('GET', `${unit.path}/states`)).map(({ state }) => state);
    await put(at(first));
    await save(first, 'two euros');
    await leave(first);
    // What a unit tells when it has stopped the instances comes late.
    await save(first, 'one euro');
    await put(at(second));
    expect(await statesOf(second)).toEqual(['one euro']);
    await save(second, 'none');
    await leave(second);
    await put(at(second));
    expect(await statesOf(second)).toEqual(['none']);
    await put(at(third));
    expect(await statesOf(third)).toEqual(['none']);
  });
});

describe('verification', { timeout: STORY_MS }, () => {
  test('what nobody has verified goes to units for verification only, what was rejected to none', async () => {
    const [tester, other] = [await online(), await online()];
    for (const version of ['1.0.0', '2.0.0']) await cloud.publish('checked', version, version);
    await put('/api/items/checked/2.0.0/verification', { state: 'pending' });
    await put('/api/subjects/checkers');
    await put('/api/subjects/checkers/items/checked');
    await put('/api/unit-sets/verifiers', { verification: true, units: [tester.systemId] });
    await tester.next('desiredStatus');
    for (const unit of [tester, other]) await put(`/api/subjects/checkers/units/${unit.systemId}`);
    expect(await told(tester, 'checked')).toMatchObject({ version: '2.0.0' });
    expect(await told(other, 'checked')).toMatchObject({ version: '1.0.0' });
    const deployment = `${other.path}/deployments/checked`;
    const refused = await cloud.ask('PUT', deployment, { version: '2.0.0' });
    expect([refused.status, refused.body.toString()]).toEqual([409, expect.stringMatching(/not verified yet/)]);
    await put('/api/items/checked/2.0.0/verification', { state: 'rejected', reason: 'too slow' });
    expect(await told(tester, 'checked')).toMatchObject({ version: '1.0.0' });
    expect((await cloud.ask('PUT', deployment, { version: '2.0.0' })).body.toString()).toMatch(/rejected: too slow/);
  });
});

describe('campaigns', { timeout: STORY_MS }, () => {
  async function riders(): Promise<[ScriptedUnit, ScriptedUnit]> {
    const pair: [ScriptedUnit, ScriptedUnit] = [await online(), await online()];
    const itemId = `app-${pair[0].systemId}`;
    for (const version of ['1.0.0', '2.0.0']) await cloud.publish(itemId, version, version);
    await put('/api/subjects/riders');
    await put(`/api/subjects/riders/items/${itemId}`, { version: '1.0.0' });
    for (const [index, unit] of pair.entries()) {
      await put(`/api/subjects/riders/units/${unit.systemId}`);
      expect(await told(unit, itemId)).toMatchObject({ version: '1.0.0' });
      await put(`/api/unit-sets/${itemId}-${index}`, { units: [unit.systemId] });
      expect(await told(unit, itemId)).toMatchObject({ version: '1.0.0' });
    }
    return pair;
  }

  const begin = (itemId: string) =>
    cloud.must<Campaign>('POST', '/api/campaigns', {
      ...{ itemId, version: '2.0.0', stages: [`${itemId}-0`, `${itemId}-1`] },
    });

  test('a version goes to the second set when the first one runs it', async () => {
    const [first, second] = await riders();
    const itemId = `app-${first.systemId}`;
    const { id } = await begin(itemId);
    expect(await told(first, itemId)).toMatchObject({ version: '2.0.0' });
    expect(await campaignOf(id)).toMatchObject({ state: 'running', stage: 0, units: [{ state: 'pending' }] });
    expect(second.inbox).toEqual([]);
    report(first, itemId, '2.0.0');
    expect(await told(second, itemId)).toMatchObject({ version: '2.0.0' });
    report(second, itemId, '2.0.0');
    await eventually(() => campaignOf(id)).toMatchObject({ state: 'completed', stage: 1 });
  });

  test('a unit that fails stops it: the second set keeps the old version, the first one the new', async () => {
    const [first, second] = await riders();
    const itemId = `app-${first.systemId}`;
    const { id } = await begin(itemId);
    await told(first, itemId);
    report(first, itemId, '2.0.0', 'failed');
    await eventually(() => campaignOf(id)).toMatchObject({
      ...{ state: 'stopped', reason: `unit ${first.systemId} failed: it crashed` },
    });
    await cloud.must('POST', `${second.path}/resend`);
    expect(await told(second, itemId)).toMatchObject({ version: '1.0.0' });
    await cloud.must('POST', `${first.path}/resend`);
    expect(await told(first, itemId)).toMatchObject({ version: '2.0.0' });
    // The way back of all: the version of the subscription.
    await put(`/api/subjects/riders/items/${itemId}`, { version: '1.0.0' });
    expect(await told(first, itemId)).toMatchObject({ version: '1.0.0' });
  });

  test('a person stops it, or begins the next stage before its time; a second campaign with the item must wait', async () => {
    const [first, second] = await riders();
    const itemId = `app-${first.systemId}`;
    const { id } = await begin(itemId);
    await told(first, itemId);
    await expect(begin(itemId)).rejects.toThrow(/409.*stop it first/);
    await cloud.must('POST', `/api/campaigns/${id}/advance`);
    expect(await told(second, itemId)).toMatchObject({ version: '2.0.0' });
    expect(await cloud.must('POST', `/api/campaigns/${id}/stop`, { reason: 'enough' })).toMatchObject({
      ...{ state: 'stopped', reason: 'enough' },
    });
    expect((await cloud.ask('POST', `/api/campaigns/${id}/advance`)).status).toBe(409);
  });

  test('a version that is rejected on the way goes to no other set, by itself or by a person', async () => {
    const [first, second] = await riders();
    const itemId = `app-${first.systemId}`;
    const { id } = await begin(itemId);
    await told(first, itemId);
    await put(`/api/items/${itemId}/2.0.0/verification`, { state: 'rejected', reason: 'it leaks' });
    const pushed = await cloud.ask('POST', `/api/campaigns/${id}/advance`);
    expect([pushed.status, pushed.body.toString()]).toEqual([409, expect.stringMatching(/was rejected: it leaks/)]);
    report(first, itemId, '2.0.0');
    await eventually(() => campaignOf(id)).toMatchObject({
      ...{ state: 'stopped', stage: 0, reason: `${itemId} 2.0.0 was rejected: it leaks` },
    });
    await cloud.must('POST', `${second.path}/resend`);
    await eventually(
      () => second.inbox.findLast(({ data }) => data.messageType === 'desiredStatus')?.data,
    ).toMatchObject({ items: expect.arrayContaining([expect.objectContaining({ version: '1.0.0' })]) });
  });

  test('does not wait for a unit that was deleted', async () => {
    const [first, second] = await riders();
    const itemId = `app-${first.systemId}`;
    await put(`/api/unit-sets/${itemId}-0`, { units: [first.systemId, second.systemId] });
    const { id } = await begin(itemId);
    report(first, itemId, '2.0.0');
    await eventually(() => campaignOf(id)).toMatchObject({
      reason: expect.stringMatching(`waits for ${second.systemId}`),
    });
    await cloud.must('DELETE', second.path);
    await eventually(() => campaignOf(id)).toMatchObject({ state: 'completed' });
  });

  test('a deployment of a unit takes the new version, too, and can be rolled back', async () => {
    const unit = await online();
    for (const version of ['1.0.0', '2.0.0']) await cloud.publish('single', version, version);
    await put(`${unit.path}/deployments/single`, { version: '1.0.0' });
    await told(unit, 'single');
    await put('/api/unit-sets/single', { units: [unit.systemId] });
    await told(unit, 'single');
    await cloud.must('POST', '/api/campaigns', { itemId: 'single', version: '2.0.0', stages: ['single'] });
    expect(await told(unit, 'single')).toMatchObject({ version: '2.0.0' });
    const verify = (state: string) => put('/api/items/single/1.0.0/verification', { state, reason: 'it leaks' });
    await verify('rejected');
    const refused = await cloud.ask('POST', `${unit.path}/deployments/single/rollback`);
    expect([refused.status, refused.body.toString()]).toEqual([409, expect.stringMatching(/was rejected: it leaks/)]);
    await verify('valid');
    unit.inbox.splice(0);
    await cloud.must('POST', `${unit.path}/deployments/single/rollback`);
    await eventually(() => unit.inbox.at(-1)?.data).toMatchObject({ items: [{ version: '1.0.0' }] });
  });
});

describe('what units report', { timeout: STORY_MS }, () => {
  test('a configuration for a model or a unit set reaches its units; their own one wins', async () => {
    const unit = await online();
    const config = (version: string) => ({ formatVersion: '7', version, nodes: [] });
    await put('/api/unit-configs/model:demo', config('1.0.0'));
    expect((await unit.next('desiredStatus')).data.unitConfig).toMatchObject({ version: '1.0.0' });
    await put('/api/unit-sets/configured', { units: [unit.systemId] });
    await unit.next('desiredStatus');
    await put('/api/unit-configs/set:configured', config('1.1.0'));
    expect((await unit.next('desiredStatus')).data.unitConfig).toMatchObject({ version: '1.1.0' });
    await put(`${unit.path}/unit-config`, config('3.0.0'));
    expect((await unit.next('desiredStatus')).data.unitConfig).toMatchObject({ version: '3.0.0' });
    expect((await cloud.ask('PUT', '/api/unit-configs/model:demo', config('1.0.0'))).status).toBe(409);
    await cloud.must('DELETE', '/api/unit-configs/model:demo');
  });

  test('usage and alerts are kept, for charts and for the list', async () => {
    const unit = await online();
    const at = (secondsAgo: number) => `${new Date(Date.now() - secondsAgo * 1000).toISOString().slice(0, 23)}000Z`;
    const sample = (secondsAgo: number, cpu: number) => ({
      ...{ timestamp: at(secondsAgo), cpu, ram: 1000, download: 1, upload: 2 },
      partitions: [{ name: 'var', usedSize: 77 }],
    });
    const message = {
      messageType: 'monitoringData',
      nodes: [{ node: { codename: 'main' }, items: [sample(20, 10), sample(10, 30)] }],
      instances: [
        {
          ...{ item: { id: 'web' }, subject: { id: 's' }, instance: 0, node: { codename: 'main' } },
          ...{ itemStates: [], items: [sample(10, 5)] },
        },
      ],
    } as const;
    await unit.acked(unit.send(message));
    const alert = {
      tag: 'systemAlert',
      timestamp: at(5),
      node: { codename: 'main' },
      message: 'disk is slow',
    } as const;
    await unit.acked(unit.send({ messageType: 'alerts', items: [alert] }));
    expect(await cloud.must('GET', `${unit.path}/monitoring`)).toMatchObject([
      { series: 'node:main', samples: [{ cpu: 10 }, { cpu: 30, partitions: { var: 77 } }] },
      { series: 'instance:web/s/0', samples: [{ cpu: 5 }] },
    ]);
    const thinned = await cloud.must<{ samples: object[] }[]>(
      ...(['GET', `${unit.path}/monitoring?series=node:main&from=1m&points=2`] as const),
    );
    expect(thinned[0]!.samples.length).toBeLessThanOrEqual(2);
    expect(await cloud.must('GET', `${unit.path}/alerts?tag=systemAlert`)).toMatchObject([
      { tag: 'systemAlert', data: { message: 'disk is slow' } },
    ]);
    expect((await cloud.ask('GET', `${unit.path}/monitoring?from=never`)).status).toBe(400);
  });
});
