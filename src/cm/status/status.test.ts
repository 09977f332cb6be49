import { describe, expect, test } from 'vitest';
import { type Clock, type ErrorInfo, silentLogger, throwIfCanceled } from '../../core/index.ts';
import { UnitStatus } from '../../protocol/index.ts';
import type { InstanceStatus, ItemStatus, NodeInfo } from '../model.ts';
import { StatusReporter } from './status-reporter.ts';
import { deltaStatus, fullStatus, type UnitConfigReport, type UnitSnapshot } from './unit-status.ts';

const error: ErrorInfo = { aosCode: 10, exitCode: 0, message: 'damaged' };

const node: NodeInfo = {
  nodeId: 'node-a1',
  nodeType: 'gateway',
  title: 'Gateway',
  maxDmips: 24_000,
  totalRam: 4_000_000_000,
  physicalRam: 0,
  os: { os: 'linux', version: '6.6', features: ['overlayfs'] },
  cpus: [{ modelName: 'A76', numCores: 4, numThreads: 4, arch: { architecture: 'arm64', variant: 'v8' }, maxDmips: 0 }],
  partitions: [{ name: 'states', types: ['states'], path: '', totalSize: 1000 }],
  attrs: { MainNode: '' },
  state: 'provisioned',
  isConnected: true,
  runtimes: [
    {
      runtimeId: 'r1',
      type: 'crun',
      maxDmips: 0,
      allowedDmips: 0,
      totalRam: 0,
      allowedRam: 0,
      maxInstances: 0,
      os: { os: 'linux', version: '', features: [] },
      arch: { architecture: 'arm64', variant: '' },
    },
  ],
  resources: [{ name: 'can0', sharedCount: 2 }],
};

const item = (
  version: string,
  state: ItemStatus['state'] = 'installed',
  more: Partial<ItemStatus> = {},
): ItemStatus => ({
  itemId: 'web',
  type: 'service',
  version,
  state,
  ...more,
});

const instance = (index: number, more: Partial<InstanceStatus> = {}): InstanceStatus => ({
  ident: { itemId: 'web', subjectId: 'subject', instance: index, type: 'service', preinstalled: false },
  version: '1',
  nodeId: 'node-a1',
  runtimeId: 'r1',
  manifestDigest: 'sha256:00',
  state: 'active',
  ...more,
});

const snapshot: UnitSnapshot = {
  unitConfig: { version: '1.3.0', state: 'installed' },
  nodes: [node],
  nodeUpdateErrors: new Map(),
  items: [item('1'), item('0', 'removed'), item('2', 'failed', { error })],
  instances: [instance(0), instance(1, { state: 'failed', error, nodeId: '', runtimeId: '' })],
  subjects: ['anna'],
};

describe('the full status', () => {
  test('[CM-11] has all five sections, and leaves removed items out', () => {
    const status = fullStatus(snapshot);
    expect(Object.keys(status)).toEqual([
      'messageType',
      'isDeltaInfo',
      'unitConfig',
      'nodes',
      'items',
      'instances',
      'subjects',
    ]);
    expect(status.items?.map(({ version, state }) => `${version} ${state}`)).toEqual(['1 installed', '2 failed']);
  });

  test('[CM-28] a failed item carries its error', () => {
    expect(fullStatus(snapshot).items?.[1]).toMatchObject({ state: 'failed', errorInfo: error });
  });

  test('[CM-92] a node is told with runtimes and resources, zeros and empty texts left out', () => {
    expect(fullStatus(snapshot).nodes?.[0]).toEqual({
      identity: { codename: 'node-a1', title: 'Gateway' },
      nodeGroupSubject: { codename: 'gateway' },
      maxDmips: 24_000,
      totalRam: 4_000_000_000,
      osInfo: { os: 'linux', version: '6.6', features: ['overlayfs'] },
      cpus: [
        {
          modelName: 'A76',
          totalNumCores: 4,
          totalNumThreads: 4,
          archInfo: { architecture: 'arm64', variant: 'v8' },
        },
      ],
      attrs: { MainNode: '' },
      partitions: [{ name: 'states', types: ['states'], totalSize: 1000 }],
      state: 'provisioned',
      isConnected: true,
      runtimes: [
        {
          identity: { codename: 'r1' },
          runtimeType: 'crun',
          archInfo: { architecture: 'arm64' },
          osInfo: { os: 'linux' },
          maxInstances: 0,
        },
      ],
      resources: [{ name: 'can0', sharedCount: 2 }],
    });
  });

  test('instances are grouped, those without a place have empty names', () => {
    expect(fullStatus(snapshot).instances).toEqual([
      {
        item: { id: 'web', type: 'service' },
        subject: { id: 'subject' },
        version: '1',
        instances: [
          { node: { codename: 'node-a1' }, runtime: { codename: 'r1' }, instance: 0, state: 'active' },
          { node: { codename: '' }, runtime: { codename: '' }, instance: 1, state: 'failed', errorInfo: error },
        ],
      },
    ]);
  });

  test('[CM-107] the checksum of a state is told with its instance', () => {
    const status = fullStatus({ ...snapshot, instances: [instance(0, { stateChecksum: 'abcd' })] });
    expect(status.instances?.[0]?.instances[0]).toMatchObject({ stateChecksum: 'abcd' });
  });

  test('what a node brought along is told by codename, and counts as an installed item', () => {
    const boot = instance(0, {
      ident: { itemId: 'boot', subjectId: 'gateway', instance: 0, type: 'component', preinstalled: true },
      version: '5',
    });
    const status = fullStatus({ ...snapshot, instances: [boot] });
    expect(status.items?.at(-1)).toEqual({
      item: { codename: 'boot', type: 'component' },
      version: '5',
      state: 'installed',
    });
    expect(status.instances).toMatchObject([{ item: { codename: 'boot' }, subject: { codename: 'gateway' } }]);
  });

  test('[CM-97] an attempted unit configuration is a second entry, unless it is the one in force', () => {
    const attempt: UnitConfigReport = { version: '1.2.9', state: 'failed', error };
    expect(fullStatus({ ...snapshot, unitConfigOutcome: attempt }).unitConfig).toEqual([
      { version: '1.3.0', state: 'installed' },
      { version: '1.2.9', state: 'failed', errorInfo: error },
    ]);
    const same: UnitConfigReport = { version: '1.3.0', state: 'failed', error };
    expect(fullStatus({ ...snapshot, unitConfigOutcome: same }).unitConfig).toHaveLength(1);
  });
});

test('[CM-11] the cloud reads exactly what was written', () => {
  const status = fullStatus(snapshot);
  expect(UnitStatus.parse(JSON.parse(JSON.stringify(status)))).toEqual(JSON.parse(JSON.stringify(status)));
});

test('[CM-11] a delta has only what changed', () => {
  const nothing = { nodes: [], items: [], instances: [] };
  expect(deltaStatus({ ...nothing, items: [item('1', 'removed')] })).toEqual({
    messageType: 'unitStatus',
    isDeltaInfo: true,
    items: [{ item: { id: 'web', type: 'service' }, version: '1', state: 'removed' }],
  });
});

/** A clock that a test moves by hand. */
class ManualClock implements Clock {
  nowMs = 0;
  #sleepers: { dueMs: number; wake: () => void }[] = [];
  monotonicMs = () => this.nowMs;
  now = () => new Date(this.nowMs);
  async sleep(durationMs: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#sleepers.push({ dueMs: this.nowMs + durationMs, wake: resolve });
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    throwIfCanceled(signal);
  }
  async advance(durationMs: number): Promise<void> {
    this.nowMs += durationMs;
    const due = this.#sleepers.filter(({ dueMs }) => dueMs <= this.nowMs);
    this.#sleepers = this.#sleepers.filter(({ dueMs }) => dueMs > this.nowMs);
    for (const { wake } of due) wake();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('the reporter', () => {
  function setUp() {
    const sent: UnitStatus[] = [];
    const clock = new ManualClock();
    const trouble = { sending: false };
    const reporter = new StatusReporter({
      sources: {
        unitConfig: () => snapshot.unitConfig,
        nodes: () => [node],
        items: () => snapshot.items,
        instances: () => snapshot.instances,
        subjects: () => ['anna'],
      },
      send: (status) => {
        if (trouble.sending) throw new Error('queue is full');
        sent.push(status);
      },
      debounceMs: 10_000,
      logger: silentLogger,
      clock,
    });
    return { sent, clock, trouble, reporter };
  }

  test('[CM-11] changes are gathered for a while; of several of one thing the last counts', async () => {
    const { reporter, sent, clock } = setUp();
    reporter.open();
    reporter.connectionChanged(true);
    reporter.itemsChanged([item('3', 'downloading')]);
    await clock.advance(5000);
    reporter.itemsChanged([item('3', 'pending')]);
    await clock.advance(5000);
    expect(sent).toEqual([]);
    await clock.advance(5000);
    expect(sent).toMatchObject([{ isDeltaInfo: true, items: [{ version: '3', state: 'pending' }] }]);
    await reporter.stop();
  });

  test('a stream of changes does not put the delta off for ever', async () => {
    const { reporter, sent, clock } = setUp();
    reporter.open();
    reporter.connectionChanged(true);
    for (let round = 0; round < 8; round += 1) {
      reporter.nodeChanged(node);
      await clock.advance(5000);
    }
    expect(sent.length).toBeGreaterThan(0);
    await reporter.stop();
  });

  test('what could not be handed over is told later', async () => {
    const { reporter, sent, clock, trouble } = setUp();
    reporter.open();
    reporter.connectionChanged(true);
    trouble.sending = true;
    reporter.subjectsChanged(['bert']);
    await clock.advance(10_000);
    trouble.sending = false;
    reporter.nodeChanged(node);
    await clock.advance(10_000);
    expect(sent).toMatchObject([{ subjects: [{ codename: 'bert' }], nodes: [{ isConnected: true }] }]);
    await reporter.stop();
  });

  test('[CM-11] without a session nothing is gathered or sent, since the next one opens with everything', async () => {
    const { reporter, sent, clock } = setUp();
    reporter.itemsChanged([item('3')]);
    reporter.sendFull();
    await clock.advance(60_000);
    expect(sent).toEqual([]);
    expect(reporter.open()).toMatchObject({ isDeltaInfo: false });
    // What changes while the first status is handed over is not lost.
    reporter.itemsChanged([item('4')]);
    reporter.connectionChanged(true);
    await clock.advance(10_000);
    expect(sent).toMatchObject([{ items: [{ version: '4' }] }]);
    await reporter.stop();
  });

  test('errors of ordered node states are told in full statuses until the cloud has one', async () => {
    const { reporter, sent } = setUp();
    reporter.open();
    reporter.connectionChanged(true);
    reporter.nodeUpdateFailed('node-a1', error);
    reporter.sendFull();
    reporter.acknowledged(sent[0]!);
    reporter.sendFull();
    expect(sent.map((status) => status.nodes?.[0]?.errorInfo)).toEqual([error, undefined]);
    await reporter.stop();
  });

  test('[CM-11] what a session took along when it ended is told by the next one', async () => {
    const { reporter } = setUp();
    const outcome: UnitConfigReport = { version: '9', state: 'failed', error };
    reporter.open();
    reporter.connectionChanged(true);
    reporter.nodeUpdateFailed('node-a1', error);
    reporter.unitConfigOutcome(outcome);
    reporter.sendFull();
    reporter.connectionChanged(false);
    // One that ends before its first status was handed over.
    reporter.open();
    reporter.sendFull();
    const opening = reporter.open();
    expect(opening.unitConfig).toMatchObject([{}, { version: '9', state: 'failed' }]);
    expect(opening.nodes?.[0]?.errorInfo).toEqual(error);
    reporter.connectionChanged(true);
    const newer = { ...error, message: 'newer' };
    reporter.nodeUpdateFailed('node-a1', newer);
    reporter.acknowledged(opening);
    const next = reporter.open();
    expect(next.unitConfig).toHaveLength(1);
    expect(next.nodes?.[0]?.errorInfo).toEqual(newer);
    await reporter.stop();
  });

  test('[CM-11] an update that ends while the first status is handed over is told right behind it', async () => {
    const { reporter, sent, clock } = setUp();
    reporter.open();
    reporter.itemsChanged([item('4')]);
    await clock.advance(10_000);
    reporter.sendFull();
    expect(sent, 'nothing is taken yet').toEqual([]);
    reporter.connectionChanged(true);
    expect(sent).toMatchObject([{ isDeltaInfo: false }]);
    await clock.advance(60_000);
    expect(sent).toHaveLength(1);
    await reporter.stop();
  });
});
