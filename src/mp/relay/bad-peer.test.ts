/** A proxy whose peer says what makes no sense, or listens to nothing: a reason each time, bounded memory, and it goes on. */
import { create, toBinary } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { sm } from '../../api/contracts.ts';
import * as proxy from '../../api/gen/aosproxy/v1/aosproxy_pb.js';
import { AosError, ERROR_CODES } from '../../core/index.ts';
import { encodeFrame, encodeMessage, type MessageChannel } from '../wire/index.ts';
import { makeTestTls, type TestTls } from '../wire/pair-for-tests.ts';
import {
  MainNode,
  nodeInfo,
  PORTS,
  ScriptedPeer,
  sayCall,
  sayManager,
  sayNode,
  sayProxy,
  send,
} from './proxy-for-tests.ts';

let tls: TestTls;
let main: MainNode;
let peer: ScriptedPeer;

beforeAll(async () => {
  tls = await makeTestTls();
});
beforeEach(async () => {
  main = await MainNode.open();
});
afterEach(async () => {
  await peer?.close();
  await main.close();
});

/** It tells the time on a connection of its own, as ever. */
async function stillServes(): Promise<void> {
  const channel = peer.open(PORTS.cmOpen);
  await sayProxy(channel, { case: 'clockSyncRequest', value: {} });
  expect((await peer.next(channel, sm.ProxyIncomingMessagesSchema)).ProxyIncomingMessage.case).toBe('clockSync');
}

const named = async (port: number): Promise<MessageChannel> => {
  const channel = await peer.secure(port);
  await sayProxy(channel, { case: 'nodeId', value: 'node' });
  return channel;
};

/** Waits until nothing more is taken; answers how much was. */
async function untilStalled(taken: () => number): Promise<number> {
  let last = -1;
  let same = 0;
  await expect
    .poll(
      () => {
        const now = taken();
        same = now === last ? same + 1 : 0;
        last = now;
        return same;
      },
      { interval: 20, timeout: 20_000 },
    )
    .toBeGreaterThan(10);
  return last;
}

const ANY_PORT = fc.constantFrom(...Object.values(PORTS), 0, 7, 0xffffffff);
const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map(Buffer.from);

/** What a peer may send: whole frames of nonsense, of wrong sums, cut off, too large, messages that never end. */
const said = fc.oneof(
  fc.record({ port: ANY_PORT, data: bytes(120) }).map(({ port, data }) => encodeFrame(port, data)),
  fc.record({ port: ANY_PORT, data: bytes(60) }).map(({ port, data }) => encodeFrame(port, encodeMessage(data))),
  fc.record({ port: ANY_PORT, data: bytes(60), at: fc.nat() }).map(({ port, data, at }) => {
    const frame = encodeFrame(port, data);
    const place = at % frame.length;
    frame[place] = frame[place]! ^ 0x55;
    return frame;
  }),
  fc.record({ port: ANY_PORT, data: bytes(60), at: fc.nat() }).map(({ port, data, at }) => {
    const frame = encodeFrame(port, data);
    return frame.subarray(0, at % frame.length);
  }),
  fc.record({ port: ANY_PORT, sizeBytes: fc.integer({ min: 65_537, max: 0xffffffff }) }).map(({ port, sizeBytes }) => {
    const header = Buffer.alloc(40);
    header.writeUInt32LE(port, 0);
    header.writeUInt32LE(sizeBytes, 4);
    return header;
  }),
  fc.record({ port: ANY_PORT, sizeBytes: fc.nat(0xffffffff) }).map(({ port, sizeBytes }) => {
    const size = Buffer.alloc(4);
    size.writeUInt32LE(sizeBytes, 0);
    return encodeFrame(port, size);
  }),
);

describe('bad input', () => {
  test('[R-06] whatever frames come, interleaved and cut anywhere, a connection ends with a reason or goes on, and the next one works', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(said, { minLength: 1, maxLength: 8 }), async (pieces) => {
        const bad = new ScriptedPeer({ main, tls });
        for (const piece of pieces) if (!bad.raw.destroyed) bad.raw.write(piece);
        bad.raw.end();
        expect(await bad.proxy.ended).toBeInstanceOf(AosError);
        await bad.close();
      }),
      { numRuns: 1500 },
    );
    peer = new ScriptedPeer({ main, tls });
    await stillServes();
  });

  test('[R-06] whatever messages come through TLS, a channel ends with a reason or goes on, and another can be opened', async () => {
    peer = new ScriptedPeer({ main, tls });
    const valid = [
      toBinary(sm.SMOutgoingMessagesSchema, create(sm.SMOutgoingMessagesSchema)),
      toBinary(
        proxy.ProxyCallSchema,
        create(proxy.ProxyCallSchema, { callId: 1n, method: '/servicemanager.v5.SMService/GetBlobsInfos' }),
      ),
      toBinary(
        sm.ProxyOutgoingMessagesSchema,
        create(sm.ProxyOutgoingMessagesSchema, {
          ProxyOutgoingMessage: { case: 'downloadRequest', value: create(sm.DownloadRequestSchema, { url: '\0:' }) },
        }),
      ),
    ].map(Buffer.from);
    const spoiled = fc.record({ body: fc.constantFrom(...valid), at: fc.nat(), by: fc.nat(255) });
    const message = fc.oneof(
      bytes(200),
      fc.constantFrom(...valid),
      spoiled.map(({ body, at, by }) => {
        const copy = Buffer.from(body);
        if (copy.length > 0) copy[at % copy.length] = by;
        return copy;
      }),
    );
    const port = fc.constantFrom(PORTS.iamSecure, PORTS.cmSecure, PORTS.proxySecure, PORTS.call);
    await fc.assert(
      fc.asyncProperty(port, fc.array(message, { minLength: 1, maxLength: 20 }), async (number, messages) => {
        const channel = await peer.secure(number);
        for (const body of messages) await channel.send(body).catch(() => undefined);
        channel.close(new AosError('canceled', 'next'));
      }),
      { numRuns: 150 },
    );
    await stillServes();
    await sayNode(await peer.secure(PORTS.iamSecure), nodeInfo('node'));
    await expect.poll(() => peer.proxy.isOpen).toBe(true);
  });
});

test('[MP-11] a connection that ends while its channels wait for their turn is over, and holds up no other', async () => {
  const hasty = new ScriptedPeer({ main, tls });
  const endless = encodeFrame(PORTS.iamOpen, Buffer.alloc(4, 0xff));
  for (let count = 0; count < 3; count += 1) hasty.raw.write(endless);
  hasty.raw.end();
  await hasty.proxy.ended;
  await hasty.close();
  peer = new ScriptedPeer({ main, tls });
  await stillServes();
});

describe('more than there is room for', () => {
  test('[MP-08] of downloads two run and sixteen wait; one more is refused by itself', async () => {
    peer = new ScriptedPeer({ main, tls, fileServerUrl: main.fileUrl });
    main.endless.set('/endless', 0);
    const files = await named(PORTS.proxySecure);
    const url = `${main.fileUrl}/endless`;
    for (let requestId = 1n; requestId <= 19n; requestId += 1n) {
      await sayProxy(files, { case: 'downloadRequest', value: { url, requestId } });
    }
    const next = async () =>
      (await peer.next(files, sm.ProxyIncomingMessagesSchema)).ProxyIncomingMessage.value as sm.DownloadContent;
    let content = await next();
    while (content.state === sm.DownloadState.IN_PROGRESS) content = await next();
    expect(content).toMatchObject({
      requestId: 19n,
      state: sm.DownloadState.FAILED,
      error: { aosCode: ERROR_CODES.noMemory, message: '16 downloads wait already' },
    });
    // The same number again is the same download, from its beginning.
    await sayProxy(files, { case: 'downloadRequest', value: { url, requestId: 1n } });
    do content = await next();
    while (content.requestId !== 2n);
    expect(content.state).toBe(sm.DownloadState.IN_PROGRESS);
  });

  test('sixteen calls may be open; one more is refused by itself', async () => {
    peer = new ScriptedPeer({ main, tls });
    const manager = await peer.secure(PORTS.cmSecure);
    await sayManager(manager, { case: 'smInfo', value: { nodeId: 'node' } });
    await (await main.managerStream()).next();
    const calls = await peer.secure(PORTS.call);
    const method = '/servicemanager.v5.NetworkService/SubscribeInstanceNetworkUpdates';
    for (let callId = 1n; callId <= 17n; callId += 1n) await sayCall(calls, { callId, method });
    expect(await peer.next(calls, proxy.ProxyReplySchema)).toMatchObject({
      ...{ callId: 17n, end: true, status: Code.ResourceExhausted, message: '16 calls are open already' },
    });
    await sayCall(calls, { callId: 3n, cancel: true });
    expect(await peer.next(calls, proxy.ProxyReplySchema)).toMatchObject({ callId: 3n, end: true });
  });
});

describe('back pressure', () => {
  test('[MP-07] a peer that never reads stops the file server at the other end', async () => {
    peer = new ScriptedPeer({ main, tls, fileServerUrl: main.fileUrl });
    main.endless.set('/endless', 0);
    const files = await named(PORTS.proxySecure);
    await sayProxy(files, { case: 'downloadRequest', value: { url: `${main.fileUrl}/endless`, requestId: 1n } });
    await expect.poll(() => main.endless.get('/endless')).toBeGreaterThan(0);
    const sentBytes = await untilStalled(() => main.endless.get('/endless')!);
    // What sockets and buffers on the way hold.
    expect(sentBytes).toBeLessThan(32 * 1024 * 1024);
  });

  test('[MP-11] a peer that calls and calls and never listens is listened to no more', async () => {
    peer = new ScriptedPeer({ main, tls });
    const calls = await peer.secure(PORTS.call);
    let sent = 0;
    const total = 200_000;
    const sending = (async () => {
      for (; sent < total; sent += 1) await sayCall(calls, { callId: BigInt(sent), method: 'x'.repeat(2_000) });
    })().catch(() => undefined);
    expect(await untilStalled(() => sent)).toBeLessThan(total / 10);
    // It does not look at the connection either: after 30 s it would close the channel.
    for (const side of [peer.proxy, peer.multiplexer]) side.close(new AosError('canceled', 'the test is over'));
    await sending;
  });

  test('[MP-11] a CM that never reads stops the peer; it gets all of it, in order, once it reads', async () => {
    peer = new ScriptedPeer({ main, tls });
    const channel = await peer.secure(PORTS.cmSecure);
    await sayManager(channel, { case: 'smInfo', value: { nodeId: 'node' } });
    const stream = await main.managerStream();
    await stream.next();
    const total = 600;
    const filler = 'x'.repeat(50_000);
    let sent = 0;
    const sending = (async () => {
      for (; sent < total; sent += 1) {
        await send(channel, sm.SMOutgoingMessagesSchema, {
          SMOutgoingMessage: {
            case: 'updateInstancesStatus',
            value: { instances: [{ version: `${sent}`, runtimeId: filler }] },
          },
        });
      }
    })();
    const stalledAt = await untilStalled(() => sent);
    expect(stalledAt).toBeLessThan(300);
    for (let index = 0; index < total; index += 1) {
      const { SMOutgoingMessage: message } = await stream.next();
      expect((message.value as sm.UpdateInstancesStatus).instances[0]?.version).toBe(`${index}`);
    }
    await sending;
  });
});
