import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, test } from 'vitest';
import { iam } from '../../api/contracts.ts';
import { type Clock, Mailbox, silentLogger } from '../../core/index.ts';
import { MAX_NODE_STREAMS } from '../limits.ts';
import { readNodeInfo } from '../node-info.ts';
import { NodeLinks, refuseNode } from './node-links.ts';
import { NodeRegistry } from './node-registry.ts';

type Outgoing = iam.IAMOutgoingMessages;

let sleeps: number[];
let registry: NodeRegistry;
let links: NodeLinks;
let nowMs: number;
let isDiskFull: boolean;
/** What happens during a pause. */
let duringSleep: () => Promise<unknown>;
const never = new AbortController().signal;

beforeEach(() => {
  sleeps = [];
  nowMs = 0;
  isDiskFull = false;
  duringSleep = async () => undefined;
  const clock: Clock = {
    monotonicMs: () => nowMs,
    now: () => new Date(0),
    sleep: async (durationMs) => {
      sleeps.push(durationMs);
      await duringSleep();
      nowMs += durationMs;
    },
  };
  registry = new NodeRegistry(
    {
      nodes: () => [],
      saveNode: () => {
        if (isDiskFull) throw new Error('disk is full');
      },
      removeNode: () => undefined,
    },
    // What could not be stored waits for ever.
    { ...clock, sleep: () => new Promise(() => undefined) },
    silentLogger,
  );
  links = new NodeLinks({ ownNodeId: 'main', registry, clock, logger: silentLogger });
});

/** A node at the other end of a stream. */
class Peer {
  readonly outbox = new Mailbox<Outgoing>(16);
  readonly requests: AsyncGenerator<{ IAMIncomingMessage?: { case?: string | undefined } }>;
  readonly abort = new AbortController();

  constructor(server: 'public' | 'protected' = 'protected') {
    this.requests = links.serve(this.outbox, server, this.abort.signal) as typeof this.requests;
  }

  send(
    message: NonNullable<Parameters<typeof create<typeof iam.IAMOutgoingMessagesSchema>>[1]>['IAMOutgoingMessage'],
  ): void {
    this.outbox.push(create(iam.IAMOutgoingMessagesSchema, { IAMOutgoingMessage: message! }));
  }

  async register(nodeId: string, state = 'provisioned'): Promise<this> {
    this.send({ case: 'nodeInfo', value: { nodeId, state } });
    this.pending = this.next();
    await settled(() => registry.find(nodeId)?.connected === true);
    return this;
  }

  pending: Promise<string | undefined> | undefined;

  /** The kind of the next request; undefined when the stream has ended. */
  next(): Promise<string | undefined> {
    const pending = this.pending ?? this.requests.next().then(({ value }) => value?.IAMIncomingMessage?.case);
    this.pending = undefined;
    return pending;
  }
}

/** Lets everything that is ready run. */
async function settled(check: () => boolean): Promise<void> {
  for (let turn = 0; turn < 100 && !check(); turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

const relay = (nodeId: string, timeoutMs = 60_000, signal = never) =>
  links.relay(nodeId, { case: 'getCertTypesRequest', value: { nodeId } }, 'certTypesResponse', timeoutMs, signal);

describe('admission', () => {
  test.each([
    ['public', 'unprovisioned', undefined, true],
    ['public', 'unprovisioned', 'unprovisioned', true],
    ['public', 'unprovisioned', 'provisioned', false],
    ['public', 'unprovisioned', 'paused', false],
    ['public', 'provisioned', undefined, false],
    ['public', 'paused', undefined, false],
    ['public', 'error', undefined, false],
    ['protected', 'unprovisioned', undefined, false],
    ['protected', 'provisioned', 'unprovisioned', true],
    ['protected', 'paused', 'provisioned', true],
    ['protected', 'error', 'provisioned', true],
  ] as const)('[IAM-22] at the %s server a node that is %s, known as %s: %s', (server, state, known, admitted) => {
    expect(refuseNode({ nodeId: 'a', state }, server, 'main', known) === undefined).toBe(admitted);
  });

  test('nobody has the id of the main node', () => {
    expect(refuseNode({ nodeId: 'main', state: 'provisioned' }, 'protected', 'main', 'provisioned')).toMatch(
      /main node/,
    );
  });

  test('[IAM-21] a refused node hears nothing and keeps its stream', async () => {
    const peer = new Peer('protected');
    peer.send({ case: 'nodeInfo', value: { nodeId: 'a', state: 'unprovisioned' } });
    const next = peer.next();
    await settled(() => false);
    expect(registry.find('a')).toBeUndefined();
    peer.abort.abort();
    expect(await next).toBeUndefined();
  });

  test('unknown nodes are let in one per second', async () => {
    for (const nodeId of ['a', 'b', 'c']) await new Peer('public').register(nodeId, 'unprovisioned');
    expect(sleeps).toEqual([1000, 1000]);
  });

  test('a stranger that waits for its turn does not get the id of a node that the unit has by then', async () => {
    await new Peer('public').register('first', 'unprovisioned');
    duringSleep = async () => {
      registry.set(readNodeInfo(create(iam.NodeInfoSchema, { nodeId: 'a', state: 'provisioned' })), true);
    };
    const stranger = new Peer('public');
    stranger.send({ case: 'nodeInfo', value: { nodeId: 'a', state: 'unprovisioned' } });
    void stranger.next();
    await settled(() => false);
    expect(sleeps).toEqual([1000]);
    expect(registry.get('a')).toMatchObject({ info: { state: 'provisioned' }, connected: true });
  });

  test('strangers who open streams at the public server take no room from the nodes of the unit', async () => {
    for (let count = 0; count < MAX_NODE_STREAMS; count += 1) void new Peer('public').next();
    await expect(new Peer('public').next()).rejects.toMatchObject({ code: 'noMemory' });
    await new Peer('protected').register('a');
    expect(registry.get('a').connected).toBe(true);
  });

  test('a message that makes no sense ends the stream with its reason', async () => {
    const peer = new Peer();
    peer.send({ case: 'nodeInfo', value: { nodeId: 'a', state: 'strange' } });
    await expect(peer.next()).rejects.toThrow(/unknown state "strange"/);
  });
});

describe('requests', () => {
  test('[IAM-23] a request reaches the node, its answer the caller', async () => {
    const peer = await new Peer().register('a');
    const answer = relay('a');
    expect(await peer.next()).toBe('getCertTypesRequest');
    peer.send({ case: 'certTypesResponse', value: { types: ['iam'] } });
    expect((await answer).types).toEqual(['iam']);
  });

  test('[IAM-23] requests to one node are served one after another', async () => {
    const peer = await new Peer().register('a');
    const answers = [relay('a'), relay('a')];
    for (const type of ['first', 'second']) {
      expect(await peer.next()).toBe('getCertTypesRequest');
      peer.send({ case: 'certTypesResponse', value: { types: [type] } });
    }
    expect((await Promise.all(answers)).map(({ types }) => types[0])).toEqual(['first', 'second']);
  });

  test('[IAM-23] an answer that comes too late is not taken for that of the next request', async () => {
    const peer = await new Peer().register('a');
    const late = relay('a', 1);
    expect(await peer.next()).toBe('getCertTypesRequest');
    await expect(late).rejects.toMatchObject({ code: 'timeout' });
    const next = relay('a');
    expect(await peer.next()).toBe('getCertTypesRequest');
    peer.send({ case: 'certTypesResponse', value: { types: ['stale'] } });
    peer.send({ case: 'certTypesResponse', value: { types: ['fresh'] } });
    expect((await next).types).toEqual(['fresh']);
  });

  test('a node without a stream is tried three times, with pauses only in between', async () => {
    const info = readNodeInfo(create(iam.NodeInfoSchema, { nodeId: 'a', state: 'provisioned' }));
    registry.set(info, false);
    await expect(relay('a')).rejects.toThrow(/stream not found/);
    expect(sleeps).toEqual([10_000, 10_000]);
  });

  test('a node that the unit does not have is refused at once', async () => {
    await expect(relay('a')).rejects.toMatchObject({
      code: 'notFound',
      message: expect.stringMatching(/"a" is unknown/),
    });
    expect(sleeps).toEqual([]);
  });

  test('a node that comes back between the tries is reached', async () => {
    registry.set(readNodeInfo(create(iam.NodeInfoSchema, { nodeId: 'a', state: 'provisioned' })), false);
    const peer = new Peer();
    duringSleep = () => peer.register('a');
    const answer = relay('a');
    await settled(() => registry.find('a')?.connected === true);
    expect(await peer.next()).toBe('getCertTypesRequest');
    peer.send({ case: 'certTypesResponse', value: { types: [] } });
    await answer;
    expect(sleeps).toEqual([10_000]);
  });

  test('a request that may have arrived is not repeated when the stream breaks', async () => {
    const peer = await new Peer().register('a');
    const answer = relay('a');
    expect(await peer.next()).toBe('getCertTypesRequest');
    peer.abort.abort();
    await expect(answer).rejects.toThrow(/closed/);
    expect(sleeps).toEqual([]);
  });

  test('an answer that nobody asked for is dropped', async () => {
    const peer = await new Peer().register('a');
    peer.send({ case: 'pauseNodeResponse', value: {} });
    const answer = relay('a');
    expect(await peer.next()).toBe('getCertTypesRequest');
    peer.send({ case: 'certTypesResponse', value: { types: ['iam'] } });
    expect((await answer).types).toEqual(['iam']);
  });
});

describe('two streams of one node', () => {
  test('[IAM-25] the newer one gets the requests, the older one is ended and its end says nothing', async () => {
    const older = await new Peer().register('a');
    const newer = await new Peer().register('a');
    expect(await older.next()).toBeUndefined();
    await settled(() => false);
    expect(registry.get('a').connected).toBe(true);
    const answer = relay('a');
    expect(await newer.next()).toBe('getCertTypesRequest');
    newer.send({ case: 'certTypesResponse', value: { types: [] } });
    await answer;
  });

  test('[IAM-25] what the older one still says counts no more: the newer one goes on', async () => {
    const older = await new Peer().register('a');
    const newer = await new Peer().register('a');
    expect(await older.next()).toBeUndefined();
    older.send({ case: 'nodeInfo', value: { nodeId: 'a', state: 'paused' } });
    await settled(() => false);
    expect(registry.get('a')).toMatchObject({ info: { state: 'provisioned' }, connected: true });
    const answer = relay('a');
    expect(await newer.next()).toBe('getCertTypesRequest');
    newer.send({ case: 'certTypesResponse', value: { types: [] } });
    await answer;
  });

  test('[R-02] a node that comes back while its news cannot be stored is connected, with its news', async () => {
    await new Peer().register('a');
    isDiskFull = true;
    await new Peer().register('a', 'paused');
    await settled(() => registry.get('a').info.state === 'paused');
    expect(registry.get('a')).toMatchObject({ info: { state: 'paused' }, connected: true });
  });

  test('[IAM-25] the end of its only stream disconnects a node', async () => {
    const peer = await new Peer().register('a');
    peer.outbox.close();
    expect(await peer.next()).toBeUndefined();
    expect(registry.get('a').connected).toBe(false);
  });
});
