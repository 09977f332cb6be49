import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ErrorInfo, ItemState } from '../../core/index.ts';
import { AosError, systemClock } from '../../core/index.ts';
import type { PlanReport, UnitReport, WhyReport } from '../../daemon/index.ts';
import type { DesiredStatus } from '../../protocol/index.ts';
import type { DecisionEvent, EventFilter } from '../events/index.ts';
import { iamNode, TestUnit } from '../launcher/unit-for-tests.ts';
import type { ItemStatus } from '../model.ts';
import { mergeDesired } from '../updates/desired.ts';
import { desiredStatus } from '../updates/desired-for-tests.ts';
import { type Desired, wantedItems } from '../updates/index.ts';
import { planUpdate } from '../updates/plan-update.ts';
import { afterDownload, runRequests } from '../updates/run-requests.ts';
import { ControlDesk, type ControlFacts } from './control-handlers.ts';

let unit: TestUnit;
let items: ItemStatus[];
let desired: Desired | undefined;
let desk: ControlDesk;
let waitsBecause: string | undefined;
let cloud: UnitReport['cloud'];
let update: ControlFacts['updates']['state'];

const event = (id: string, what: string, because: string): DecisionEvent => ({
  seq: 1,
  at: '2026-11-25T03:00:00.000Z',
  about: { kind: 'instance', id },
  what,
  because,
});
let events: DecisionEvent[];

beforeEach(async () => {
  unit = await TestUnit.create({ nodes: [iamNode('main'), iamNode('second'), iamNode('third')] });
  items = [];
  events = [];
  desired = undefined;
  waitsBecause = undefined;
  cloud = { state: 'connected', since: '' };
  update = { state: 'none', since: '1970-01-01T00:00:00.000Z' };
  desk = new ControlDesk(
    {
      list: ({ kind, id }: EventFilter = {}) => events.filter(({ about }) => about.kind === kind && about.id === id),
      follow: async function* () {
        yield* events;
      },
    },
    systemClock,
  );
});

afterEach(() => unit.close());

function opened(): void {
  const facts: ControlFacts = {
    systemId: 'unit',
    unitModel: 'model',
    link: {
      get state() {
        return cloud;
      },
    },
    sources: {
      unitConfig: () => unit.config.status(),
      nodes: () => unit.nodes.nodes(),
      items: () => items,
      instances: () => unit.launcher.statuses(),
      subjects: () => [],
    },
    updates: {
      get state() {
        return update;
      },
      get desired() {
        return desired;
      },
      consider: (message, refused) => {
        const wanted = mergeDesired(message, desired, refused);
        return {
          wanted,
          decision: planUpdate({
            state: 'none',
            accepted: desired,
            wanted,
            facts: { items, instances: unit.launcher.statuses() },
          }),
          requests: runRequests(wanted, afterDownload(items, wantedItems(wanted))).requests,
        };
      },
    },
    gate: {
      get waitsBecause() {
        return waitsBecause;
      },
      locks: () => [],
      lock: ({ owner, reason }) => ({ owner, reason, expiresAtMs: 0 }),
      unlock: () => undefined,
      release: () => undefined,
    },
    launcher: unit.launcher,
    networks: { instances: () => [] },
    bundles: {
      open: () => {
        throw new AosError('invalidArgument', 'the file is no bundle for a unit');
      },
      apply: async (source) => {
        let bytes = 0;
        for await (const chunk of source) bytes += chunk.length;
        return { bundle: `${bytes} bytes`, createdAt: '', outcome: 'accepted', items: [] };
      },
    },
  };
  desk.open(facts);
}

const ask = async <T>(path: string, body?: unknown) => {
  const handler = desk.handlers()[path]!;
  const { signal } = new AbortController();
  return (
    'upload' in handler ? await handler.upload(body as AsyncIterable<Buffer>, signal) : await handler(body, signal)
  ) as T;
};
const plan = (status: Partial<DesiredStatus>) => ask<PlanReport>('/plan', status);
const why = (name: string) => ask<WhyReport>('/why', { name });
const told = ({ reasons }: WhyReport) => reasons.map(({ what, because }) => (because ? `${what}: ${because}` : what));

function have(itemId: string, version: string, state: ItemState = 'installed', error?: ErrorInfo): void {
  items.push({ itemId, version, type: 'service', state, ...(error && { error }) });
  if (!error) unit.addItem({ itemId, version, config: { runtimes: ['runc'] } });
}

/** Does what a desired status says. */
async function carryOut(status: DesiredStatus): Promise<void> {
  desired = mergeDesired(status, desired);
  for (const row of items) if (row.state === 'pending') items[items.indexOf(row)] = { ...row, state: 'installed' };
  await unit.launch(...runRequests(desired, items).requests);
}

async function connectAll(): Promise<void> {
  for (const nodeId of ['main', 'second', 'third']) unit.connect(nodeId);
  await carryOut(desiredStatus({}));
}

describe('a plan', () => {
  const places = (report: PlanReport) =>
    report.instances
      .filter(({ nodeId }) => nodeId !== undefined)
      .map(({ name, version, nodeId }) => `${name} ${version} ${nodeId}`)
      .sort();
  const actual = () =>
    unit.launcher
      .statuses()
      .filter(({ nodeId }) => nodeId !== '')
      .map(({ ident, version, nodeId }) => `${ident.itemId}/${ident.subjectId}/${ident.instance} ${version} ${nodeId}`)
      .sort();

  test('[P-11] says where each instance goes and why no other node, changes nothing, and so it happens then', async () => {
    opened();
    await connectAll();
    for (const itemId of ['web', 'db', 'log']) have(itemId, '1', 'pending');
    const status = desiredStatus({ web: '1', db: '1', log: '1' });
    const before = JSON.stringify(unit.launcher.statuses());
    const report = await plan(status);
    expect(JSON.stringify(unit.launcher.statuses())).toBe(before);
    expect(report).toMatchObject({ decision: 'start', download: [], remove: [], refused: [] });
    expect(report.instances.map((one) => one.do)).toEqual(['start', 'start', 'start']);
    for (const { nodeId, notChosen } of report.instances) {
      const others = ['main', 'second', 'third'].filter((id) => id !== nodeId);
      expect(notChosen.map((one) => one.nodeId).sort()).toEqual(others);
      for (const { because } of notChosen) expect(because).not.toBe('');
    }
    await carryOut(status);
    expect(actual()).toEqual(places(report));
  });

  test('[P-11] says what is downloaded, updated, stopped and removed, and so it happens then', async () => {
    opened();
    await connectAll();
    have('web', '1');
    have('old', '1');
    await carryOut(desiredStatus({ web: '1', old: '1' }));
    have('web', '2', 'pending');
    const status = desiredStatus({ web: '2', fresh: '1' });
    const report = await plan(status);
    expect(report.download).toEqual([{ itemId: 'fresh', version: '1' }]);
    expect(report.remove).toEqual([
      { itemId: 'web', version: '1' },
      { itemId: 'old', version: '1' },
    ]);
    expect(Object.fromEntries(report.instances.map((one) => [one.name, one.do]))).toEqual({
      'web/subject/0': 'update',
      'fresh/subject/0': 'later',
      'old/subject/0': 'stop',
    });
    have('fresh', '1', 'pending');
    await carryOut(status);
    const web = report.instances.find(({ name }) => name.startsWith('web'))!;
    expect(actual()).toContain(`web/subject/0 2 ${web.nodeId}`);
    expect(actual().some((line) => line.startsWith('old'))).toBe(false);
  });

  test('[P-11] of what is in force already is to do nothing', async () => {
    opened();
    await connectAll();
    have('web', '1');
    await carryOut(desiredStatus({ web: '1' }));
    const report = await plan({});
    expect(report.decision).toBe('nothing');
    expect(report.instances.map((one) => one.do)).toEqual(['keep']);
  });

  test('tells entries that would be refused by their name', async () => {
    opened();
    await connectAll();
    const { refused } = await plan({ items: [{ item: { id: 'bad', type: 'service' }, version: '1' }] } as never);
    expect(refused).toHaveLength(1);
    expect(refused[0]).toMatch(/^item bad 1: .*owner/);
  });

  test.each([['a word'], [[1]], [undefined]])('is not made of %j', async (body) => {
    opened();
    await expect(ask('/plan', body)).rejects.toThrow('expected a desired status');
  });
});

describe('why', () => {
  test('[P-03] an instance runs: its wish, its item, its place and what was decided, with the time', async () => {
    opened();
    await connectAll();
    have('web', '1');
    await carryOut(desiredStatus({ web: '1' }));
    const [status] = unit.launcher.statuses();
    events.push(event('web/subject/0', `version 1 runs on ${status!.nodeId}`, 'a good reason'));
    const report = await why('web/subject/0');
    expect(report.now).toMatch(/^version 1 is act.* on node /);
    expect(told(report)).toEqual([
      'the desired status asks for it: subject subject, priority 0, 1 of them',
      'its item is wanted in version 1',
      'item version 1 is installed',
      expect.stringMatching(/^it was placed on node /),
      ...Array(2).fill(expect.stringMatching(/^not on /)),
      expect.stringMatching(/runs on .*: a good reason$/),
    ]);
    expect(report.reasons.at(-1)?.at).toBe('2026-11-25T03:00:00.000Z');
  });

  test('[P-03] an instance does not run: no node takes it, each with its reason', async () => {
    opened();
    await connectAll();
    have('web', '1');
    const { instances = [] } = desiredStatus({ web: '1' });
    await carryOut(desiredStatus({ web: '1' }, { instances: [{ ...instances[0]!, labels: ['roof'] }] }));
    const report = await why('web/subject/0');
    expect(report.now).toBe('version 1 is failed');
    expect(told(report).filter((line) => line.startsWith('not on'))).toEqual([
      expect.stringMatching(/^not on main.*roof/),
      expect.stringMatching(/^not on second.*roof/),
      expect.stringMatching(/^not on third.*roof/),
    ]);
  });

  test('[P-03] an instance that is asked for twice runs as the first entry says, and the second is told', async () => {
    opened();
    await connectAll();
    have('web', '1');
    const { instances = [] } = desiredStatus({ web: '1' });
    await carryOut(desiredStatus({ web: '1' }, { instances: [...instances, { ...instances[0]!, numInstances: 2 }] }));
    expect(unit.launcher.statuses()).toHaveLength(1);
    expect(told(await why('web/subject/0'))).toContainEqual(
      expect.stringMatching(/an entry for it .* is refused: .*asked for twice/),
    );
  });

  test('[P-03] [P-18] an instance failed: the exit code that its node reports', async () => {
    opened();
    for (const nodeId of ['second', 'third']) unit.connect(nodeId);
    const sm = unit.connect('main', { outcome: () => ({ state: 'failed', message: 'exit code 3' }) });
    await carryOut(desiredStatus({}));
    have('web', '1');
    await carryOut(desiredStatus({ web: '1' }));
    expect(sm.received.length).toBeGreaterThan(0);
    expect(unit.launcher.statuses()).toMatchObject([{ nodeId: 'main', state: 'failed' }]);
    expect(told(await why('web/subject/0'))).toContain('its node reports an error: exit code 3 (error 1)');
  });

  test('[P-03] an instance failed: all words of its node, also those that the message of an error is too short for', async () => {
    opened();
    for (const nodeId of ['second', 'third']) unit.connect(nodeId);
    const reason = `it cannot be started: device /dev/radar of resource "radar" is not on this node, ${'and so on '.repeat(20)}`;
    let outcome = { state: 'failed', message: 'device /dev/radar of resource "radar" is not', reason };
    const sm = unit.connect('main', { outcome: () => outcome });
    await carryOut(desiredStatus({}));
    have('web', '1');
    await carryOut(desiredStatus({ web: '1' }));
    expect(told(await why('web/subject/0'))).toContain(`its node reports an error: ${reason} (error 1)`);
    expect(told(await why('main'))).toContain(`web/subject/0 is failed: ${reason} (error 1)`);

    // What is over leaves no words behind.
    outcome = { state: 'failed', message: 'exit code 3', reason: '' };
    sm.reportAll();
    await expect
      .poll(async () => told(await why('web/subject/0')))
      .toContain('its node reports an error: exit code 3 (error 1)');
  });

  test('[P-03] [CM-82] an instance does not run because its subject is not there', async () => {
    opened();
    await connectAll();
    have('web', '1');
    const subjects = [{ identity: { id: 'subject' }, type: 'user' as const, isReportedFromUnit: true }];
    unit.launcher.setSubjects([]);
    await carryOut(desiredStatus({ web: '1' }, { subjects }));
    const report = await why('web/subject/0');
    expect(report.now).toBe('it does not exist');
    expect(told(report)).toContain('it must not run: IAM does not report subject subject');
  });

  test('[P-03] an item: its error, and the update that waits', async () => {
    opened();
    waitsBecause = 'drive holds a lock';
    have('web', '2', 'failed', { aosCode: 10, exitCode: 0, message: 'wrong digest' });
    desired = mergeDesired(desiredStatus({ web: '2' }));
    const report = await why('web');
    expect(report).toMatchObject({ kind: 'item', now: 'version 2 is failed' });
    expect(told(report)).toEqual([
      'the desired status wants version 2',
      'version 2 has an error: wrong digest (error 10)',
    ]);
  });

  test('[P-03] an item that does not come: the last trouble of the update, and a cloud that is away', async () => {
    opened();
    update = { state: 'downloading', since: '2026-11-25T03:00:00.000Z' };
    const ofUpdate = (what: string, because: string) => {
      events.push({ ...event('update', what, because), about: { kind: 'update', id: 'update' } });
    };
    ofUpdate('started', 'the desired status changed');
    ofUpdate('blob sha256:1 does not come, and is tried again', 'no answer of the server');
    have('web', '2', 'downloading');
    have('other', '1');
    desired = mergeDesired(desiredStatus({ web: '2', other: '1' }));
    const trouble = 'blob sha256:1 does not come, and is tried again: no answer of the server';
    expect(told(await why('web'))).toEqual(['the desired status wants version 2', 'an update is downloading', trouble]);
    expect(told(await why('other'))).toEqual(['the desired status wants version 1', 'an update is downloading']);
    expect(told(await why('web/subject/0'))).toContain(trouble);
    cloud = { state: 'waiting', since: '2026-11-25T02:00:00.000Z' };
    expect(told(await why('web'))).toContain(
      'the cloud, which says where blobs are, is not connected since 2026-11-25T02:00:00.000Z',
    );
  });

  test('[P-03] a node and the update', async () => {
    opened();
    expect(await why('second')).toMatchObject({ kind: 'node', now: 'provisioned, not connected, no instances' });
    expect((await why('update')).now).toBe('none has run yet');
    update = { state: 'none', since: '2026-11-25T03:00:00.000Z' };
    expect((await why('update')).now).toMatch(/^none runs since 2026-11-25T03:00:00.000Z/);
    [update, waitsBecause] = [{ state: 'pending', since: '2026-11-25T03:00:00.000Z' }, 'drive holds a lock'];
    expect(await why('update')).toMatchObject({
      now: 'pending since 2026-11-25T03:00:00.000Z',
      reasons: [{ what: 'it waits', because: 'drive holds a lock' }],
    });
  });

  test('of what nobody knows answers what there is', async () => {
    opened();
    await expect(why('nobody')).rejects.toThrow(/nothing here is called nobody; there is update, main, second, third$/);
    cloud = { state: 'waiting', since: '2026-11-25T03:00:00.000Z' };
    await expect(why('nobody')).rejects.toThrow(
      /third; the cloud is not connected since 2026-11-25T03:00:00.000Z: newer wishes are not known$/,
    );
  });
});

test('before IAM has answered the status says what the CM waits for, and questions are refused in words', async () => {
  desk.waitFor('IAM at localhost:8090 does not answer');
  expect(await ask<UnitReport>('/status')).toMatchObject({ waitsFor: 'IAM at localhost:8090 does not answer' });
  await expect(ask('/plan', {})).rejects.toThrow('it waits for IAM at localhost:8090');
  opened();
  expect(await ask<UnitReport>('/status')).toMatchObject({ systemId: 'unit' });
});

test('[P-12] a bundle goes to its desk as it streams; its head alone is planned like a desired status', async () => {
  async function* pieces() {
    yield Buffer.from('one');
    yield Buffer.from('two');
  }
  desk.waitFor('IAM at localhost:8090 does not answer');
  await expect(ask('/bundle/apply', pieces())).rejects.toThrow('it waits for IAM at localhost:8090');
  opened();
  expect(await ask('/bundle/apply', pieces())).toMatchObject({ bundle: '6 bytes', outcome: 'accepted' });
  const head = { manifest: Buffer.from('{}').toString('base64'), signature: '' };
  await expect(ask('/bundle/plan', head)).rejects.toThrow('no bundle for a unit');
  await expect(ask('/bundle/plan', { ...head, manifest: '%' })).rejects.toThrow(/manifest: expected the list.*base64/);
});
