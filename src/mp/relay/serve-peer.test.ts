import { randomBytes } from 'node:crypto';
import { gunzipSync } from 'node:zlib';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Code } from '@connectrpc/connect';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { iam, network, sm } from '../../api/contracts.ts';
import * as proxy from '../../api/gen/aosproxy/v1/aosproxy_pb.js';
import { AosError, ERROR_CODES } from '../../core/index.ts';
import type { MessageChannel } from '../wire/index.ts';
import { makeTestTls, type TestTls } from '../wire/pair-for-tests.ts';
import {
  hurried,
  MainNode,
  nodeInfo,
  PORTS,
  type ProxyOptions,
  ScriptedPeer,
  sayCall,
  sayManager,
  sayNode,
  sayProxy,
} from './proxy-for-tests.ts';

let tls: TestTls;
let main: MainNode;
let peer: ScriptedPeer;

const connect = (options: Partial<ProxyOptions> = {}) => {
  peer = new ScriptedPeer({ main, tls, ...options });
  return peer;
};

beforeAll(async () => {
  tls = await makeTestTls();
});

beforeEach(async () => {
  main = await MainNode.open();
});

afterEach(async () => {
  await peer.close();
  await main.close();
});

const certTypes = (types: string[]) => ({
  case: 'certTypesResponse' as const,
  value: create(iam.CertTypesSchema, { types }),
});

describe('the stream of the node', () => {
  test('[MP-06] a blank peer reaches the public server, both ways, and nothing else is served', async () => {
    connect({ isProvisioned: false });
    const channel = peer.open(PORTS.iamOpen);
    await sayNode(channel, nodeInfo('node', 'unprovisioned'));
    const stream = await main.nodeStream();
    expect((await stream.next()).IAMOutgoingMessage).toMatchObject({
      value: { nodeId: 'node', state: 'unprovisioned' },
    });
    stream.outgoing.push({ IAMIncomingMessage: { case: 'getCertTypesRequest', value: { nodeId: 'node' } } });
    const { IAMIncomingMessage: request } = await peer.next(channel, iam.IAMIncomingMessagesSchema);
    expect(request).toMatchObject({ case: 'getCertTypesRequest', value: { nodeId: 'node' } });
    await sayNode(channel, certTypes(['iam', 'sm']));
    expect((await stream.next()).IAMOutgoingMessage).toMatchObject({ value: { types: ['iam', 'sm'] } });
    expect(() => peer.multiplexer.open(PORTS.iamSecure)).toThrow(/no port 2/);
  });

  test('[MP-05] a provisioned peer reaches the protected server through TLS', async () => {
    connect();
    await sayNode(await peer.secure(PORTS.iamSecure), nodeInfo('node'));
    expect((await (await main.nodeStream()).next()).IAMOutgoingMessage).toMatchObject({ value: { nodeId: 'node' } });
  });

  test('[MP-11] a main IAM that comes back hears the description of the node first, and nothing is asked of the peer', async () => {
    connect();
    const channel = await peer.secure(PORTS.iamSecure);
    await sayNode(channel, nodeInfo('node'));
    const first = await main.nodeStream();
    await first.next();
    first.end();
    const second = await main.nodeStream();
    expect((await second.next()).IAMOutgoingMessage).toMatchObject({ case: 'nodeInfo', value: { nodeId: 'node' } });
    await sayNode(channel, certTypes(['x']));
    expect((await second.next()).IAMOutgoingMessage).toMatchObject({ case: 'certTypesResponse' });
  });

  test('[MP-11] [IAM-25] the stream ends with the channel, so that the main IAM sees the node go', async () => {
    connect();
    const channel = await peer.secure(PORTS.iamSecure);
    await sayNode(channel, nodeInfo('node'));
    const stream = await main.nodeStream();
    await stream.next();
    channel.close(new AosError('canceled', 'the peer stops'));
    await stream.ended;
  });

  test('what is not of this API is dropped, and the channel goes on', async () => {
    connect();
    const channel = peer.open(PORTS.iamOpen);
    await channel.send(Buffer.from([0xff, 0xff, 0xff]));
    await channel.send(Buffer.from([0xda, 0x07, 0x00]));
    await sayNode(channel, nodeInfo('node', 'unprovisioned'));
    expect((await (await main.nodeStream()).next()).IAMOutgoingMessage.case).toBe('nodeInfo');
  });
});

describe('the stream of the service manager', () => {
  const status = (itemId: string, state: string) => ({ instance: { itemId, subjectId: 's' }, state });

  async function introduced(): Promise<MessageChannel> {
    const channel = await peer.secure(PORTS.cmSecure);
    await sayManager(channel, { case: 'smInfo', value: { nodeId: 'node' } });
    return channel;
  }

  test('[MP-01] messages pass both ways unchanged', async () => {
    connect();
    const channel = await introduced();
    const stream = await main.managerStream();
    expect((await stream.next()).SMOutgoingMessage).toMatchObject({ case: 'smInfo', value: { nodeId: 'node' } });
    stream.outgoing.push({
      SMIncomingMessage: { case: 'updateInstances', value: { startInstances: [{ version: '1' }] } },
    });
    const { SMIncomingMessage: update } = await peer.next(channel, sm.SMIncomingMessagesSchema);
    expect(update).toMatchObject({ case: 'updateInstances', value: { startInstances: [{ version: '1' }] } });
  });

  test('[MP-11] a CM that comes back is told the present states of all instances, and the alerts that it missed', async () => {
    connect();
    const channel = await introduced();
    const first = await main.managerStream();
    await first.next();
    await sayManager(channel, {
      case: 'nodeInstancesStatus',
      value: { instances: [status('a', 'active'), status('b', 'active')] },
    });
    await sayManager(channel, { case: 'updateInstancesStatus', value: { instances: [status('b', 'failed')] } });
    for (let index = 0; index < 2; index += 1) await first.next();
    first.end();
    const second = await main.managerStream();
    expect((await second.next()).SMOutgoingMessage.case).toBe('smInfo');
    const { SMOutgoingMessage: all } = await second.next();
    expect(all).toMatchObject({
      case: 'nodeInstancesStatus',
      value: {
        instances: [
          { instance: { itemId: 'a' }, state: 'active' },
          { instance: { itemId: 'b' }, state: 'failed' },
        ],
      },
    });
  });

  test('[MP-10] plain pieces of a log become compressed parts within the limits; compressed ones pass', async () => {
    connect();
    const channel = await introduced();
    const stream = await main.managerStream();
    await stream.next();
    const log = (data: Buffer, state = 'ok') =>
      sayManager(channel, {
        case: 'log',
        value: { correlationId: 'c', data: new Uint8Array(data), status: state },
      });
    const pieces = Array.from({ length: 5 }, (_, index) => Buffer.alloc(4000, String(index)));
    for (const piece of pieces) await log(piece);
    await log(Buffer.alloc(0), 'empty');
    const parts: Buffer[] = [];
    for (let part = 1; part <= 3; part += 1) {
      const { SMOutgoingMessage: message } = await stream.next();
      expect(message).toMatchObject({ case: 'log', value: { partCount: 3n, part: BigInt(part), status: 'ok' } });
      parts.push(gunzipSync((message.value as sm.LogData).data));
    }
    expect(Buffer.concat(parts).equals(Buffer.concat(pieces))).toBe(true);
    await log(Buffer.from([0x1f, 0x8b, 1, 2]));
    await log(Buffer.alloc(0), 'empty');
    expect((await stream.next()).SMOutgoingMessage).toMatchObject({
      value: { data: new Uint8Array([0x1f, 0x8b, 1, 2]) },
    });
    expect((await stream.next()).SMOutgoingMessage).toMatchObject({ value: { status: 'empty' } });
  });

  test('a peer that names itself differently on another channel loses that channel', async () => {
    connect();
    await introduced();
    await (await main.managerStream()).next();
    const files = await peer.secure(PORTS.proxySecure);
    await sayProxy(files, { case: 'nodeId', value: 'another' });
    await expect(peer.next(files, sm.ProxyIncomingMessagesSchema)).rejects.toThrow();
  });

  test('channels of the service manager with different certificates are not served', async () => {
    connect();
    await introduced();
    await (await main.managerStream()).next();
    const calls = await peer.secure(PORTS.call, tls.proxy);
    await expect(peer.next(calls, proxy.ProxyReplySchema)).rejects.toThrow();
  });
});

describe('the time', () => {
  test('[MP-09] [CM-109] the peer is told the time, on the open channel and before it has named itself', async () => {
    connect({ isProvisioned: false });
    const channel = peer.open(PORTS.cmOpen);
    const before = Date.now();
    await sayProxy(channel, { case: 'clockSyncRequest', value: {} });
    const { ProxyIncomingMessage: answer } = await peer.next(channel, sm.ProxyIncomingMessagesSchema);
    expect(answer.case).toBe('clockSync');
    const time = timestampDate((answer.value as sm.ClockSync).currentTime!).getTime();
    expect(time).toBeGreaterThanOrEqual(before);
    expect(time).toBeLessThanOrEqual(Date.now());
  });

  test('[MP-09] a peer of the older API is answered in its own form', async () => {
    connect();
    const channel = peer.open(PORTS.cmOpen);
    await channel.send(Buffer.from([0x5a, 0x00]));
    const { value } = (await channel.messages().next()) as { value: Buffer };
    // Field 14 with a clock of the same shape.
    expect(value[0]).toBe(0x72);
    const clock = fromBinary(sm.ClockSyncSchema, value.subarray(2));
    expect(Math.abs(timestampDate(clock.currentTime!).getTime() - Date.now())).toBeLessThan(60_000);
  });

  test('[MP-09] a clock that was never set is told to nobody', async () => {
    connect({ clock: { ...hurried, now: () => new Date(0) } });
    const channel = peer.open(PORTS.cmOpen);
    await sayProxy(channel, { case: 'clockSyncRequest', value: {} });
    // Answered after it on the same channel: the first had no answer.
    await sayProxy(channel, { case: 'downloadRequest', value: { url: 'http://x/', requestId: 1n } });
    expect((await peer.next(channel, sm.ProxyIncomingMessagesSchema)).ProxyIncomingMessage.case).toBe(
      'downloadContent',
    );
  });
});

describe('files', () => {
  async function askedFor(...digests: string[]): Promise<MessageChannel> {
    const calls = await peer.secure(PORTS.call);
    const payload = toBinary(sm.BlobsInfosRequestSchema, create(sm.BlobsInfosRequestSchema, { digests }));
    await sayCall(calls, { callId: 1n, method: '/servicemanager.v5.SMService/GetBlobsInfos', payload });
    const reply = await peer.next(calls, proxy.ProxyReplySchema);
    expect(reply).toMatchObject({ callId: 1n, end: true, status: 0 });
    expect(fromBinary(sm.BlobsInfosSchema, reply.payload).urls).toEqual(
      digests.map((digest) => `${main.fileUrl}/${digest}`),
    );
    const files = await peer.secure(PORTS.proxySecure);
    await sayProxy(files, { case: 'nodeId', value: 'node' });
    return files;
  }

  const request = (files: MessageChannel, path: string, requestId: bigint, offset = 0) =>
    sayProxy(files, {
      case: 'downloadRequest',
      value: { url: `${main.fileUrl}${path}`, requestId, offset: BigInt(offset) },
    });

  async function content(files: MessageChannel): Promise<sm.DownloadContent> {
    const { ProxyIncomingMessage: message } = await peer.next(files, sm.ProxyIncomingMessagesSchema);
    expect(message.case).toBe('downloadContent');
    return message.value as sm.DownloadContent;
  }

  async function whole(files: MessageChannel, from = 0): Promise<Buffer> {
    const pieces: Uint8Array[] = [];
    let position = from;
    for (;;) {
      const piece = await content(files);
      expect(Number(piece.offset)).toBe(position);
      expect(piece.data.length).toBeLessThanOrEqual(16_000);
      pieces.push(piece.data);
      position += piece.data.length;
      if (piece.state === sm.DownloadState.COMPLETED) return Buffer.concat(pieces);
      expect(piece.state).toBe(sm.DownloadState.IN_PROGRESS);
    }
  }

  test.each([0, 1, 15_999, 16_000, 16_001, 300_000])('[MP-07] a file of %i bytes arrives equal', async (size) => {
    connect();
    const file = randomBytes(size);
    main.files.set('/sha256:a', file);
    const files = await askedFor('sha256:a');
    await request(files, '/sha256:a', 1n);
    expect((await whole(files)).equals(file)).toBe(true);
  });

  test('[MP-07] a file goes on from an offset, without and with ranges of the server', async () => {
    connect();
    const file = randomBytes(100_000);
    main.files.set('/sha256:a', file);
    const files = await askedFor('sha256:a');
    await request(files, '/sha256:a', 1n, 70_000);
    expect((await whole(files, 70_000)).equals(file.subarray(70_000))).toBe(true);
    expect(main.requests.at(-1)?.range).toBe('bytes=70000-');
  });

  test('[MP-08] a server that breaks off is asked again from the present offset', async () => {
    connect();
    const file = randomBytes(200_000);
    main.files.set('/sha256:a', file);
    main.broken.set('/sha256:a', 2);
    const files = await askedFor('sha256:a');
    await request(files, '/sha256:a', 1n);
    expect((await whole(files)).equals(file)).toBe(true);
    expect(main.requests.filter(({ path }) => path === '/sha256:a').length).toBe(3);
  });

  test('[MP-08] a file that is not there fails after three tries with the status', async () => {
    connect();
    const files = await askedFor('sha256:none');
    await request(files, '/sha256:none', 1n);
    expect(await content(files)).toMatchObject({ state: sm.DownloadState.FAILED, error: { exitCode: 404 } });
    expect(main.requests).toHaveLength(3);
  });

  test('[MP-07] only addresses that the proxy handed out are fetched', async () => {
    connect();
    main.files.set('/secret', Buffer.from('x'));
    const files = await askedFor('sha256:a');
    const asked = main.requests.length;
    for (const url of [`${main.fileUrl}/secret`, 'file:///etc/passwd', 'no address']) {
      await sayProxy(files, { case: 'downloadRequest', value: { url, requestId: 9n } });
      expect(await content(files)).toMatchObject({
        state: sm.DownloadState.FAILED,
        error: { aosCode: ERROR_CODES.invalidArgument },
      });
    }
    expect(main.requests).toHaveLength(asked);
  });

  test('[MP-07] everything below the configured file server may be fetched', async () => {
    connect({ fileServerUrl: main.fileUrl });
    main.files.set('/public', Buffer.from('public'));
    const files = await askedFor('sha256:a');
    await request(files, '/public', 1n);
    expect((await whole(files)).toString()).toBe('public');
  });

  test('[MP-07] a peer that has not named itself is refused', async () => {
    connect();
    const files = await peer.secure(PORTS.proxySecure);
    await request(files, '/x', 1n);
    expect(await content(files)).toMatchObject({
      state: sm.DownloadState.FAILED,
      error: { aosCode: ERROR_CODES.wrongState },
    });
  });

  test('[MP-08] two files alternate piece by piece, further ones wait', async () => {
    connect();
    for (const name of ['a', 'b', 'c']) main.files.set(`/sha256:${name}`, randomBytes(400_000));
    const files = await askedFor('sha256:a', 'sha256:b', 'sha256:c');
    await request(files, '/sha256:a', 1n);
    await request(files, '/sha256:b', 2n);
    await request(files, '/sha256:c', 3n);
    const order: bigint[] = [];
    for (let completed = 0; completed < 3; ) {
      const piece = await content(files);
      order.push(piece.requestId);
      if (piece.state === sm.DownloadState.COMPLETED) completed += 1;
    }
    // The first one was alone for as long as the second request was on its way; from then on they take turns.
    const both = order.slice(order.indexOf(2n), Math.min(order.lastIndexOf(1n), order.lastIndexOf(2n)));
    for (const id of [1n, 2n]) expect(both.filter((one) => one === id).length).toBeGreaterThan(1);
    expect(order.indexOf(3n)).toBeGreaterThan(Math.min(order.lastIndexOf(1n), order.lastIndexOf(2n)));
  });

  test('[MP-07] a download that the peer cancels ends, and is told so', async () => {
    connect();
    main.files.set('/sha256:a', randomBytes(5_000_000));
    const files = await askedFor('sha256:a');
    await request(files, '/sha256:a', 1n);
    expect((await content(files)).state).toBe(sm.DownloadState.IN_PROGRESS);
    await sayProxy(files, { case: 'cancelDownload', value: { requestId: 1n } });
    let state: sm.DownloadState;
    do state = (await content(files)).state;
    while (state === sm.DownloadState.IN_PROGRESS);
    expect(state).toBe(sm.DownloadState.CANCELED);
  });
});

describe('calls', () => {
  const sync = (nodeId: string) =>
    toBinary(network.SyncNetworkStateRequestSchema, create(network.SyncNetworkStateRequestSchema, { nodeId }));
  const SYNC = '/servicemanager.v5.NetworkService/SyncNetworkState';
  const SUBSCRIBE = '/servicemanager.v5.NetworkService/SubscribeInstanceNetworkUpdates';

  async function named(): Promise<MessageChannel> {
    connect();
    const manager = await peer.secure(PORTS.cmSecure);
    await sayManager(manager, { case: 'smInfo', value: { nodeId: 'node' } });
    await (await main.managerStream()).next();
    return peer.secure(PORTS.call);
  }

  test('[MP-01] calls for networks are made in the name of the peer and of no other node', async () => {
    const calls = await named();
    await sayCall(calls, { callId: 1n, method: SYNC, payload: sync('') });
    expect(await peer.next(calls, proxy.ProxyReplySchema)).toMatchObject({ callId: 1n, end: true, status: 0 });
    expect(main.networkCalls.map(({ nodeId }) => nodeId)).toEqual(['node']);
    await sayCall(calls, { callId: 2n, method: SYNC, payload: sync('main') });
    expect(await peer.next(calls, proxy.ProxyReplySchema)).toMatchObject({
      callId: 2n,
      end: true,
      status: Code.PermissionDenied,
    });
    expect(main.networkCalls).toHaveLength(1);
  });

  test('other methods are not carried', async () => {
    const calls = await named();
    await sayCall(calls, { callId: 1n, method: '/servicemanager.v5.SMService/RegisterSM' });
    expect(await peer.next(calls, proxy.ProxyReplySchema)).toMatchObject({ end: true, status: Code.Unimplemented });
  });

  test('a subscription brings replies until it is canceled', async () => {
    const calls = await named();
    const payload = toBinary(
      network.SubscribeInstanceNetworkUpdatesRequestSchema,
      create(network.SubscribeInstanceNetworkUpdatesRequestSchema, { nodeId: 'node' }),
    );
    await sayCall(calls, { callId: 5n, method: SUBSCRIBE, payload });
    for (const ip of ['10.0.0.1', '10.0.0.2']) {
      main.updates.push({ update: { case: 'pendingFirewallUpdate', value: { firewallRules: [{ dstIp: ip }] } } });
      const reply = await peer.next(calls, proxy.ProxyReplySchema);
      expect(reply.end).toBe(false);
      expect(fromBinary(network.InstanceNetworkUpdateNotificationSchema, reply.payload)).toMatchObject({
        update: { value: { firewallRules: [{ dstIp: ip }] } },
      });
    }
    await sayCall(calls, { callId: 5n, cancel: true });
    expect(await peer.next(calls, proxy.ProxyReplySchema)).toMatchObject({ end: true, status: Code.Canceled });
  });
});
