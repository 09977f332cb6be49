import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sm } from '../../api/contracts.ts';
import { identMessage } from '../../api/index.ts';
import { type Clock, silentLogger, systemClock } from '../../core/index.ts';
import type { InstanceStatus, UpdateRequest } from '../model.ts';
import { CmLink } from './cm-link.ts';
import { CmServices } from './cm-services.ts';
import type { CmHandlers, LogRequest } from './cm-session.ts';
import type { OutgoingMessage } from './messages.ts';
import { ScriptedCm, type ScriptedStream } from './scripted-cm-for-tests.ts';

const status = (itemId: string, state: InstanceStatus['state'] = 'active'): InstanceStatus => ({
  ident: { itemId, subjectId: 'subject', instance: 0, type: 'service', preinstalled: false },
  version: '1.0.0',
  runtimeId: 'runtime',
  manifestDigest: 'sha256:1',
  state,
  envVars: [],
});

/** What the node does when the CM asks; each test changes what it is about. */
class Node implements CmHandlers {
  statuses: InstanceStatus[] = [status('a')];
  launched: Promise<void> = Promise.resolve();
  readonly updates: UpdateRequest[] = [];
  readonly logRequests: LogRequest[] = [];
  readonly cloud: boolean[] = [];
  update: () => Promise<void> = () => Promise.resolve();

  async firstStatuses() {
    await this.launched;
    return this.statuses;
  }

  async updateInstances(request: UpdateRequest) {
    this.updates.push(request);
    await this.update();
    return this.statuses;
  }

  nodeConfigStatus = () => ({ state: 'installed' as const, version: '1.0.0' });
  checkNodeConfig = (text: string, version: string) => ({ state: 'installed' as const, version, ...refused(text) });
  setNodeConfig = async (text: string, version: string) => ({ state: 'absent' as const, version, ...refused(text) });
  averageMonitoring = (): OutgoingMessage => ({ case: 'averageMonitoring', value: {} });
  logs = (request: LogRequest) => void this.logRequests.push(request);
  cloudStatus = (connected: boolean) => void this.cloud.push(connected);
  introduced = () => undefined;
}

/** Generous: machines that test are busy. */
const PATIENCE = { timeout: 15_000 };

const refused = (text: string) => (text === '{' ? { error: { aosCode: 6, exitCode: 0, message: 'no JSON' } } : {});

let cm: ScriptedCm;
let node: Node;
/** Opened by the first `nextStream` of a test. */
let link: CmLink | undefined;
/** Pauses that were asked for, in milliseconds; they are over at once. */
let pauses: number[];
const hurried: Clock = {
  ...systemClock,
  sleep: (durationMs, signal) => {
    pauses.push(durationMs);
    return systemClock.sleep(1, signal);
  },
};

function open(): CmLink {
  const opened = new CmLink({
    address: cm.address,
    ca: cm.root.pem,
    checkHostName: true,
    certStorage: 'sm',
    reconnectMs: 10_000,
    credentials: cm.credentials,
    node: {
      nodeId: 'node-1',
      runtimes: [
        {
          runtimeId: 'runtime',
          type: 'crun',
          maxInstances: 1024,
          os: { os: 'linux', version: '', features: [] },
          arch: { architecture: 'amd64', variant: '' },
        },
      ],
      resources: [{ name: 'camera', sharedCount: 2 }],
    },
    handlers: node,
    clock: hurried,
    logger: silentLogger,
  });
  opened.start();
  return opened;
}

function nextStream(): Promise<ScriptedStream> {
  link ??= open();
  return cm.stream();
}

async function introduced(): Promise<ScriptedStream> {
  const stream = await nextStream();
  await stream.expect('smInfo');
  await stream.expect('nodeInstancesStatus');
  return stream;
}

beforeEach(async () => {
  pauses = [];
  node = new Node();
  cm = await ScriptedCm.open();
  link = undefined;
});

afterEach(async () => {
  await link?.stop();
  await cm.close();
});

describe('introduction', () => {
  test('[SM-01] the node names itself, its runtimes and resources first, then the state of all instances', async () => {
    const stream = await nextStream();
    const info = await stream.expect('smInfo');
    expect(info).toMatchObject({
      nodeId: 'node-1',
      runtimes: [{ runtimeId: 'runtime', type: 'crun', maxInstances: 1024n, archInfo: { architecture: 'amd64' } }],
      resources: [{ name: 'camera', sharedCount: 2n }],
    });
    const { instances } = await stream.expect('nodeInstancesStatus');
    expect(instances).toMatchObject([
      { instance: { itemId: 'a' }, state: 'active', error: { aosCode: 0, exitCode: 0, message: '' } },
    ]);
  });

  test('until the first launch has settled nothing that names an instance is sent, but the node config is answered', async () => {
    let settle!: () => void;
    node.launched = new Promise((resolve) => {
      settle = resolve;
    });
    const stream = await nextStream();
    await stream.expect('smInfo');
    link?.sendStatus(status('a', 'failed'));
    stream.say({ case: 'updateInstances', value: create(sm.UpdateInstancesSchema) });
    stream.say({ case: 'getNodeConfigStatus', value: create(sm.GetNodeConfigStatusSchema) });
    expect(await stream.expect('nodeConfigStatus')).toMatchObject({ state: 'installed', version: '1.0.0' });
    expect(node.updates).toEqual([]);
    settle();
    await stream.expect('nodeInstancesStatus');
    await stream.expect('nodeInstancesStatus');
    expect(node.updates).toHaveLength(1);
  });

  test('the connection status is taken before the node has said anything', async () => {
    node.launched = new Promise(() => undefined);
    const stream = await nextStream();
    stream.say({
      case: 'connectionStatus',
      value: create(sm.ConnectionStatusSchema, { cloudStatus: sm.ConnectionEnum.DISCONNECTED }),
    });
    stream.say({ case: 'getNodeConfigStatus', value: create(sm.GetNodeConfigStatusSchema) });
    await stream.expect('smInfo');
    await stream.expect('nodeConfigStatus');
    expect(node.cloud).toEqual([true, false]);
  });
});

describe('requests', () => {
  test('[SM-04] each request for instances gets one answer, in order', async () => {
    const stream = await introduced();
    const answers = [['a'], ['a', 'b'], ['b']];
    node.update = async () => {
      node.statuses = answers.shift()!.map((item) => status(item));
    };
    for (const item of ['x', 'y', 'z']) {
      const value = create(sm.UpdateInstancesSchema, {
        startInstances: [
          { instance: identMessage(status(item).ident), version: '2.0.0', envVars: [{ name: 'A', value: '1' }] },
        ],
        stopInstances: [identMessage(status('gone').ident)],
      });
      stream.say({ case: 'updateInstances', value });
      const { instances } = await stream.expect('nodeInstancesStatus');
      expect(instances.map(({ instance }) => instance?.itemId).join()).toBe({ x: 'a', y: 'a,b', z: 'b' }[item]);
    }
    expect(node.updates).toHaveLength(3);
    expect(node.updates[0]).toMatchObject({
      start: [{ ident: { itemId: 'x' }, version: '2.0.0', envVars: [{ name: 'A', value: '1' }] }],
      stop: [{ itemId: 'gone' }],
    });
  });

  test('an entry without an instance drops the request, and the stream goes on', async () => {
    const stream = await introduced();
    stream.say({ case: 'updateInstances', value: create(sm.UpdateInstancesSchema, { startInstances: [{}] }) });
    stream.say({ case: 'getAverageMonitoring', value: create(sm.GetAverageMonitoringSchema) });
    await stream.expect('averageMonitoring');
    expect(node.updates).toEqual([]);
  });

  test('[SM-47] checking and setting the node config are answered, also when the text is no JSON', async () => {
    const stream = await introduced();
    stream.say({ case: 'checkNodeConfig', value: create(sm.CheckNodeConfigSchema, { nodeConfig: '{', version: '2' }) });
    expect(await stream.expect('nodeConfigStatus')).toMatchObject({ version: '2', error: { aosCode: 6 } });
    stream.say({ case: 'setNodeConfig', value: create(sm.SetNodeConfigSchema, { nodeConfig: '{}', version: '2' }) });
    expect(await stream.expect('nodeConfigStatus')).toMatchObject({
      state: 'absent',
      version: '2',
      error: { aosCode: 0 },
    });
  });

  test('[SM-47] answers about the node config come in the order of the questions', async () => {
    const stream = await introduced();
    const { promise: written, resolve: finish } = Promise.withResolvers<void>();
    node.setNodeConfig = async (_, version) => {
      await written;
      return { state: 'absent' as const, version };
    };
    stream.say({ case: 'setNodeConfig', value: create(sm.SetNodeConfigSchema, { nodeConfig: '{}', version: '2' }) });
    stream.say({ case: 'getNodeConfigStatus', value: create(sm.GetNodeConfigStatusSchema) });
    stream.say({ case: 'getAverageMonitoring', value: create(sm.GetAverageMonitoringSchema) });
    await stream.expect('averageMonitoring');
    finish();
    expect(await stream.expect('nodeConfigStatus')).toMatchObject({ state: 'absent', version: '2' });
    expect(await stream.expect('nodeConfigStatus')).toMatchObject({ state: 'installed', version: '1.0.0' });
  });

  test('[SM-55] a log request is handed on with its filter and times; a time of zero means absent', async () => {
    const stream = await introduced();
    const value = create(sm.InstanceLogRequestSchema, {
      correlationId: 'c',
      filter: { itemId: 'a', instance: -1n },
      from: { seconds: 0n },
      till: { seconds: 1_700_000_000n },
    });
    stream.say({ case: 'instanceLogRequest', value });
    stream.say({ case: 'getNodeConfigStatus', value: create(sm.GetNodeConfigStatusSchema) });
    await stream.expect('nodeConfigStatus');
    expect(node.logRequests).toEqual([
      {
        kind: 'instance',
        correlationId: 'c',
        filter: { itemId: 'a' },
        from: undefined,
        till: new Date(1_700_000_000_000),
      },
    ]);
  });
});

describe('states of instances', () => {
  test('[SM-04] changes of one moment travel in one message; an instance that the CM was not told of is left out', async () => {
    node.statuses = [status('a'), status('b')];
    const stream = await introduced();
    link?.sendStatus(status('a', 'failed'));
    link?.sendStatus(status('unknown', 'activating'));
    link?.sendStatus({ ...status('b', 'failed'), reason: 'all its words' });
    link?.sendStatus(status('a', 'active'));
    const { instances } = await stream.expect('updateInstancesStatus');
    expect(instances.map(({ instance, state }) => `${instance?.itemId} ${state}`)).toEqual(['a active', 'b failed']);
    expect(instances.map(({ reason }) => reason)).toEqual([undefined, 'all its words']);
  });
});

describe('loss of the stream', () => {
  test('[SM-01] the node connects again after the configured pause and introduces itself anew', async () => {
    const first = await introduced();
    node.statuses = [status('b')];
    first.end();
    const stream = await nextStream();
    await stream.expect('smInfo');
    const { instances } = await stream.expect('nodeInstancesStatus');
    expect(instances.map(({ instance }) => instance?.itemId)).toEqual(['b']);
    expect(pauses).toEqual([10_000]);
  });

  test('[SM-01] while nobody listens at the port it is tried each second at first', async () => {
    await introduced();
    const comeBack = await cm.goAway();
    await expect.poll(() => pauses.filter((pause) => pause === 1_000).length, PATIENCE).toBeGreaterThan(2);
    await comeBack();
    await introduced();
    expect(link?.state).not.toBe('waiting');
  });

  test('alerts wait for the next stream in order, the oldest of too many are dropped; monitoring is not kept', async () => {
    await introduced();
    const comeBack = await cm.goAway();
    await expect.poll(() => pauses.length, PATIENCE).toBeGreaterThan(0);
    for (let index = 0; index < 300; index += 1) {
      link?.report({ case: 'log', value: { correlationId: String(index) } });
      link?.sendIfConnected({ case: 'instantMonitoring', value: {} });
    }
    await comeBack();
    const stream = await introduced();
    for (let index = 44; index < 300; index += 1) {
      expect((await stream.expect('log')).correlationId).toBe(String(index));
    }
  });

  test('[SM-52] what is reported while the stream breaks goes over the next one, in order', async () => {
    const first = await introduced();
    const reportSome = (...ids: string[]) => {
      for (const correlationId of ids) link?.report({ case: 'log', value: { correlationId } });
    };
    reportSome('first');
    await first.expect('log');
    reportSome('before', 'just before');
    link?.sendIfConnected({ case: 'instantMonitoring', value: {} });
    cm.credentials.change();
    reportSome('just after', 'after');
    const stream = await introduced();
    reportSome('last');
    for (const id of ['before', 'just before', 'just after', 'after', 'last']) {
      expect((await stream.expect('log')).correlationId).toBe(id);
    }
  });

  test('[SM-52] an alert outlives every attempt to reach a CM that is away', async () => {
    await introduced();
    const comeBack = await cm.goAway();
    await expect.poll(() => pauses.length, PATIENCE).toBeGreaterThan(0);
    link?.report({ case: 'log', value: { correlationId: 'told in vain' } });
    const before = pauses.length;
    await expect.poll(() => pauses.length, PATIENCE).toBeGreaterThan(before + 3);
    await comeBack();
    const stream = await introduced();
    expect((await stream.expect('log')).correlationId).toBe('told in vain');
  });

  test('the answer to a request of an earlier stream does not reach the next one', async () => {
    const first = await introduced();
    let finish!: () => void;
    node.update = () =>
      new Promise((resolve) => {
        finish = resolve;
      });
    first.say({ case: 'updateInstances', value: create(sm.UpdateInstancesSchema) });
    await expect.poll(() => node.updates.length, PATIENCE).toBe(1);
    first.end();
    const second = await introduced();
    finish();
    second.say({ case: 'getNodeConfigStatus', value: create(sm.GetNodeConfigStatusSchema) });
    await second.expect('nodeConfigStatus');
  });

  test('a new certificate opens the stream again a second later', async () => {
    const first = await introduced();
    cm.credentials.change();
    expect(await first.rest()).toEqual([]);
    await introduced();
    expect(pauses).toEqual([1_000]);
  });
});

describe('questions beside the stream', () => {
  const { signal } = new AbortController();
  const services = () => {
    link ??= open();
    const { channel } = link;
    return new CmServices({ nodeId: 'node-1', channel: channel.bind(link) });
  };

  test('[SM-05] addresses of blobs come in the order of the digests', async () => {
    cm.blobs = new Map([
      ['sha256:1', 'http://cm/1'],
      ['sha256:2', 'http://cm/2'],
    ]);
    expect(await services().blobUrls(['sha256:2', 'sha256:1'], signal)).toEqual(['http://cm/2', 'http://cm/1']);
    await expect(services().blobUrls(['sha256:3'], signal)).rejects.toMatchObject({
      code: 'notFound',
      message: 'the CM has no address for blob sha256:3',
    });
  });

  test('without a CM the error says so', async () => {
    const stopped = open();
    await stopped.stop();
    await expect(stopped.channel(1, signal)).rejects.toThrow(/no connection to the CM at localhost/);
  });
});
