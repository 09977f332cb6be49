import fc from 'fast-check';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { AosError, silentLogger } from '../../core/index.ts';
import type { ChannelStream } from './channel-stream.ts';
import { encodeFrame, FRAME_HEADER_BYTES } from './frame.ts';
import { MessageChannel } from './message-channel.ts';
import type { Multiplexer } from './multiplexer.ts';
import { connectedPair, makeTestTls, type TestTls } from './pair-for-tests.ts';
import { acceptTls, connectTls } from './secure-channel.ts';

const never = new AbortController().signal;

let material: TestTls;
let pair: ReturnType<typeof connectedPair>;

beforeAll(async () => {
  material = await makeTestTls();
});

beforeEach(() => {
  pair = connectedPair();
});

afterEach(() => {
  pair.server.close(new AosError('canceled', 'the test is over'));
  pair.client.close(new AosError('canceled', 'the test is over'));
});

async function take(multiplexer: Multiplexer, port: number): Promise<ChannelStream> {
  for await (const channel of multiplexer.incoming(port)) return channel;
  throw new Error('the connection ended');
}

async function next(channel: MessageChannel): Promise<string> {
  for await (const body of channel.messages()) return body.toString();
  throw new Error('the channel ended');
}

/** A session on a secure port: the proxy's end and the peer's. */
async function secure(port = 2, peer = material.peer): Promise<[MessageChannel, MessageChannel]> {
  const { ca, proxy } = material;
  const client = pair.client.open(port);
  const accepting = take(pair.server, port).then(async (channel) => {
    const session = await acceptTls(channel, { identity: proxy, ca }, never);
    return new MessageChannel(channel, silentLogger, session);
  });
  const connecting = connectTls(client, { identity: peer, ca }, never);
  const [ours, session] = await Promise.all([accepting, connecting]);
  return [ours, new MessageChannel(client, silentLogger, session)];
}

describe('open channels', () => {
  test('[MP-04] messages go both ways on a port that the peer begins', async () => {
    const peer = new MessageChannel(pair.client.open(1), silentLogger);
    await peer.send(Buffer.from('hello'));
    const proxy = new MessageChannel(await take(pair.server, 1), silentLogger);
    expect(await next(proxy)).toBe('hello');
  });

  test('frames of an unknown port and with a wrong checksum are dropped and counted', async () => {
    const bad = encodeFrame(1, Buffer.from('????bad'));
    bad[FRAME_HEADER_BYTES] = 0;
    pair.raw.write(Buffer.concat([encodeFrame(77, Buffer.from('x')), bad]));
    const peer = new MessageChannel(pair.client.open(1), silentLogger);
    await peer.send(Buffer.from('good'));
    expect(await next(new MessageChannel(await take(pair.server, 1), silentLogger))).toBe('good');
    expect(pair.server.dropped).toEqual({ badChecksum: 1, unknownPort: 1, noChannel: 0 });
  });

  test('more than ten wrong checksums within a minute end the connection', async () => {
    const bad = encodeFrame(1, Buffer.from('hello'));
    bad[8] = bad[8]! ^ 1;
    for (let index = 0; index < 11; index += 1) pair.raw.write(bad);
    expect(await pair.server.ended).toMatchObject({ code: 'invalidChecksum' });
  });

  test('a size that no frame may have ends the connection with its reason', async () => {
    pair.raw.write(Buffer.alloc(FRAME_HEADER_BYTES, 0xff));
    expect(await pair.server.ended).toMatchObject({
      code: 'outOfRange',
      message: expect.stringMatching(/at most 65536/),
    });
  });

  test('a message that is too large closes its channel alone, and the next frame begins another', async () => {
    const size = Buffer.alloc(4, 0xff);
    pair.raw.write(encodeFrame(1, size));
    const channel = new MessageChannel(await take(pair.server, 1), silentLogger);
    await expect(next(channel)).rejects.toMatchObject({ code: 'outOfRange' });
    channel.close(new AosError('outOfRange', 'it said too much'));
    const peer = new MessageChannel(pair.client.open(1), silentLogger);
    await peer.send(Buffer.from('again'));
    expect(await next(new MessageChannel(await take(pair.server, 1), silentLogger))).toBe('again');
  });

  test('whatever is sent, the connection ends with an AosError or goes on', () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 10 }), async (pieces) => {
        const { server, client, raw } = connectedPair();
        for (const piece of pieces) if (!raw.destroyed) raw.write(piece);
        await new Promise((resolve) => setImmediate(resolve));
        server.close(new AosError('canceled', 'over'));
        expect(await server.ended).toBeInstanceOf(AosError);
        client.close(new AosError('canceled', 'over'));
      }),
      { numRuns: 500 },
    ));
});

describe('back pressure', () => {
  test('a reader that takes nothing stops the sender; nothing grows, and nothing is lost', async () => {
    const peer = new MessageChannel(pair.client.open(1), silentLogger);
    const body = Buffer.alloc(60_000, 1);
    let sent = 0;
    const sending = (async () => {
      for (; sent < 200; sent += 1) await peer.send(body);
    })();
    const stream = await take(pair.server, 1);
    await expect.poll(() => stream.readableLength).toBeGreaterThan(200_000);
    const stalledAt = sent;
    await new Promise((resolve) => setImmediate(resolve));
    expect(sent).toBeLessThan(200);
    expect(sent - stalledAt).toBeLessThan(20);
    expect(stream.readableLength).toBeLessThan(1_000_000);
    let received = 0;
    for await (const message of new MessageChannel(stream, silentLogger).messages()) {
      expect(message.length).toBe(60_000);
      received += 1;
      if (received === 200) break;
    }
    await sending;
  });

  test('a background port gives way to the others', async () => {
    const low = new MessageChannel(pair.client.open(1), silentLogger);
    const order: number[] = [];
    const background = pair.client.open(5);
    const record = Buffer.concat([Buffer.from([23, 3, 3, 0x40, 0]), Buffer.alloc(16_384)]);
    for (let index = 0; index < 100; index += 1) pair.client.send(5, record, () => order.push(5));
    await low.send(Buffer.from('urgent')).then(() => order.push(1));
    expect(order.indexOf(1)).toBeLessThan(50);
    background.destroy();
  });
});

describe('secure channels', () => {
  test('[MP-05] the proxy is TLS server, the peer shows its certificate, and messages go both ways', async () => {
    const [proxy, peer] = await secure();
    await peer.send(Buffer.from('up'));
    expect(await next(proxy)).toBe('up');
    expect(proxy.certificate).toMatch(/^[0-9A-F:]{95}$/);
    const [again, peerAgain] = await secure(5);
    await again.send(Buffer.from('down'));
    expect(await next(peerAgain)).toBe('down');
  });

  test('[MP-05] a message of a megabyte goes through, a larger one is not sent', async () => {
    const [proxy, peer] = await secure();
    const big = Buffer.alloc(1024 * 1024, 'x');
    const sending = proxy.send(big);
    expect((await next(peer)).length).toBe(big.length);
    await sending;
    await expect(proxy.send(Buffer.alloc(1024 * 1024 + 1))).rejects.toMatchObject({ code: 'outOfRange' });
  });

  test('[MP-05] a peer of another root is refused', async () => {
    await expect(secure(2, material.stranger)).rejects.toBeInstanceOf(AosError);
  });

  test('what a peer shows above its certificate stays with its session, to be freed with it', async () => {
    const { ca, proxy } = material;
    const accept = async () => acceptTls(await take(pair.server, 2), { identity: proxy, ca }, never);
    const connect = () => connectTls(pair.client.open(2), { identity: material.distant, ca }, never);
    const [first] = await Promise.all([accept(), connect()]);
    first.destroy();
    const [session] = await Promise.all([accept(), connect()]);
    expect(session.getPeerCertificate(true).issuerCertificate?.subject.CN).toBe('middle');
  });

  test('the end of a session is told to the other side', async () => {
    const [proxy, peer] = await secure();
    peer.close(new AosError('canceled', 'done'));
    const rest: unknown[] = [];
    for await (const message of proxy.messages()) rest.push(message);
    expect(rest).toEqual([]);
    expect(proxy.closed.aborted).toBe(true);
  });

  test('[MP-11] a peer that begins anew without a word gets a new session', async () => {
    const [old] = await secure();
    const [proxy, peer] = await secure();
    expect(old.closed.aborted).toBe(true);
    await peer.send(Buffer.from('new'));
    expect(await next(proxy)).toBe('new');
  });

  test('[MP-11] a peer that gave up before the proxy knew of its session gets a new one', async () => {
    const hello = Buffer.from([22, 3, 1, 0, 4, 1, 0, 0, 0]);
    const rest = Buffer.from([23, 3, 3, 0, 1, 0]);
    const sends = (data: Buffer) => pair.client.send(2, data, () => undefined);
    const channels = pair.server.incoming(2)[Symbol.asyncIterator]();
    // A second hello at once may be what the server asked for; behind anything else it is another session.
    for (const data of [hello, hello, rest, hello]) sends(data);
    const first = (await channels.next()).value as ChannelStream;
    const second = (await channels.next()).value as ChannelStream;
    expect([first.destroyed, second.destroyed]).toEqual([true, false]);
    expect(second.read()).toEqual(hello);
  });

  test('[MP-11] a peer that begins anew before its last words have left gets a new session', async () => {
    const identity = { identity: material.peer, ca: material.ca };
    const served = (async () => {
      for await (const channel of pair.server.incoming(2)) {
        const session = acceptTls(channel, { identity: material.proxy, ca: material.ca }, never).catch(() => undefined);
        const found = await session;
        if (found) return new MessageChannel(channel, silentLogger, found);
      }
      throw new Error('the connection ended');
    })();
    await connectTls(pair.client.open(2), identity, never);
    const stream = pair.client.open(2);
    const peer = new MessageChannel(stream, silentLogger, await connectTls(stream, identity, never));
    await peer.send(Buffer.from('new'));
    expect(await next(await served)).toBe('new');
  });

  test('what is left over of an earlier session begins none', async () => {
    pair.client.send(2, Buffer.from([23, 3, 3, 0, 1, 0]), () => undefined);
    const [proxy, peer] = await secure();
    await peer.send(Buffer.from('fresh'));
    expect(await next(proxy)).toBe('fresh');
    expect(pair.server.dropped.noChannel).toBe(1);
  });
});
