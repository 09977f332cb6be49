/**
 * B-07: bytes through a secure channel of the message proxy over loopback, beside `openssl s_client` into
 * `openssl s_server`; and the time of a call through the proxy beside a direct one.
 */
import { execFileSync, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { sm } from '../src/api/contracts.ts';
import * as proxy from '../src/api/gen/aosproxy/v1/aosproxy_pb.js';
import { ApiServer, Channel } from '../src/api/index.ts';
import { silentLogger, systemClock } from '../src/core/index.ts';
import { Calls } from '../src/mp/relay/calls.ts';
import { KnownUrls } from '../src/mp/relay/known-urls.ts';
import { PeerIdentity } from '../src/mp/relay/peer-identity.ts';
import { TcpConnector, TcpListener } from '../src/mp/transport/tcp.ts';
import { acceptTls, connectTls, MessageChannel, Multiplexer } from '../src/mp/wire/index.ts';
import { makeTestTls } from '../src/mp/wire/pair-for-tests.ts';
import type { PeerOrder } from './proxy-peer.ts';
import { formatTable, median } from './table.ts';

const TOTAL_BYTES = 32 * 1024 * 1024;
const MESSAGE_BYTES = 16_000;
const CALLS = 500;
const ROUNDS = 3;
const never = new AbortController().signal;
const PORTS = [{ port: 4, secure: true }];

const tls = await makeTestTls();

/** Both ends of a secure channel over TCP, in this process. */
async function channelPair() {
  const listener = await TcpListener.open('127.0.0.1:0');
  const [one, other] = await Promise.all([
    listener.next(never),
    new TcpConnector(`127.0.0.1:${listener.port}`).next(never),
  ]);
  const common = { ports: PORTS, clock: systemClock, logger: silentLogger };
  const server = new Multiplexer({ ...common, stream: one, side: 'server' });
  const client = new Multiplexer({ ...common, stream: other, side: 'client' });
  const stream = client.open(4);
  const [ours, session] = await Promise.all([
    accept(server),
    connectTls(stream, { identity: tls.peer, ca: tls.ca }, never),
  ]);
  return { proxy: ours, peer: new MessageChannel(stream, silentLogger, session), close: () => listener.close() };
}

async function accept(server: Multiplexer): Promise<MessageChannel> {
  for await (const channel of server.incoming(4)) {
    const session = await acceptTls(channel, { identity: tls.proxy, ca: tls.ca }, never);
    return new MessageChannel(channel, silentLogger, session);
  }
  throw new Error('the connection ended');
}

const perSecond = (bytes: number, startedMs: number) => bytes / 1e6 / ((performance.now() - startedMs) / 1000);

/** Our end here, the peer's in a process of its own, as s_client and s_server are two. */
async function relayRate(): Promise<number> {
  const listener = await TcpListener.open('127.0.0.1:0');
  const child = fork(join(import.meta.dirname, 'proxy-peer.ts'));
  const order: PeerOrder = { port: listener.port, tls, totalBytes: TOTAL_BYTES };
  child.send(order);
  const common = { ports: PORTS, clock: systemClock, logger: silentLogger };
  const server = new Multiplexer({ ...common, stream: await listener.next(never), side: 'server' });
  const [ours] = await Promise.all([accept(server), once(child, 'message')]);
  const body = Buffer.alloc(MESSAGE_BYTES, 1);
  const received = once(child, 'message');
  const startedMs = performance.now();
  for (let sent = 0; sent < TOTAL_BYTES; sent += MESSAGE_BYTES) await ours.send(body);
  await received;
  const rate = perSecond(TOTAL_BYTES, startedMs);
  await once(child, 'exit');
  await listener.close();
  return rate;
}

/** The same bytes from s_client into s_server. */
async function opensslRate(directory: string): Promise<number> {
  const [certificate, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
  await writeFile(certificate, tls.proxy.certificateChain);
  await writeFile(key, tls.proxy.key.kind === 'pem' ? tls.proxy.key.pem : '');
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as { port: number };
  probe.close();
  await once(probe, 'close');
  const server = spawn(
    'openssl',
    ['s_server', '-quiet', '-accept', `127.0.0.1:${port}`, '-cert', certificate, '-key', key, '-naccept', '1'],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  );
  // It says nothing when it listens; the client tries until it does.
  for (;;) {
    try {
      execFileSync('sh', ['-c', `ss -Hltn 'sport = :${port}' | grep -q .`]);
      break;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  let received = 0;
  server.stdout.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  const gone = once(server, 'exit');
  const startedMs = performance.now();
  const command = `head -c ${TOTAL_BYTES} /dev/zero | openssl s_client -quiet -nocommands -connect 127.0.0.1:${port} 2>/dev/null`;
  const client = spawn('sh', ['-c', command], { stdio: 'ignore' });
  while (received < TOTAL_BYTES && server.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 5));
  const rate = perSecond(received, startedMs);
  server.kill();
  client.kill();
  await gone;
  return rate;
}

/** Milliseconds of a call to a CM that answers at once: direct, and through the call channel. */
async function callTimes(): Promise<{ direct: number; proxied: number }> {
  const cm = await ApiServer.open({
    listen: '127.0.0.1:0',
    logger: silentLogger,
    routes: (router) => {
      router.service(sm.SMService, { getBlobsInfos: () => ({ urls: ['http://main/blob'] }) } as never);
    },
  });
  const grpc = new Channel({ address: `localhost:${cm.address.port}` });
  const client = grpc.client(sm.SMService);
  const request = create(sm.BlobsInfosRequestSchema, { digests: ['sha256:0'] });
  const timed = async (call: () => Promise<unknown>) => {
    const times: number[] = [];
    for (let index = 0; index < CALLS; index += 1) {
      const startedMs = performance.now();
      await call();
      times.push(performance.now() - startedMs);
    }
    return median(times);
  };
  const pair = await channelPair();
  const calls = new Calls({
    channel: () => Promise.resolve(grpc),
    identity: new PeerIdentity(),
    urls: new KnownUrls(''),
    send: (reply) => pair.proxy.send(toBinary(proxy.ProxyReplySchema, reply)),
  });
  const serving = (async () => {
    for await (const body of pair.proxy.messages()) await calls.take(fromBinary(proxy.ProxyCallSchema, body));
  })();
  const replies = pair.peer.messages();
  let callId = 0n;
  const through = async () => {
    callId += 1n;
    const call = create(proxy.ProxyCallSchema, {
      callId,
      method: '/servicemanager.v5.SMService/GetBlobsInfos',
      payload: toBinary(sm.BlobsInfosRequestSchema, request),
    });
    await pair.peer.send(toBinary(proxy.ProxyCallSchema, call));
    await replies.next();
  };
  await timed(() => client.getBlobsInfos(request));
  await timed(through);
  const result = { direct: await timed(() => client.getBlobsInfos(request)), proxied: await timed(through) };
  await pair.close();
  // It ends with the link that was closed just now.
  await serving.catch(() => undefined);
  grpc.close();
  await cm.close();
  return result;
}

const directory = await mkdtemp(join(tmpdir(), 'aos-bench-'));
try {
  const relay: number[] = [];
  const openssl: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    relay.push(await relayRate());
    openssl.push(await opensslRate(directory));
  }
  const { direct, proxied } = await callTimes();
  console.log(
    formatTable({
      title: 'Message proxy (B-07)',
      method: `${TOTAL_BYTES / 1e6} MB in messages of ${MESSAGE_BYTES} bytes over loopback, each end a process of its own; median of ${ROUNDS}. Calls: median of ${CALLS}.`,
      columns: ['what', 'proxy', 'compared with', 'value', 'ratio or difference'],
      rows: [
        [
          'secure channel',
          `${median(relay).toFixed(0)} MB/s`,
          'openssl s_client to s_server',
          `${median(openssl).toFixed(0)} MB/s`,
          (median(relay) / median(openssl)).toFixed(2),
        ],
        [
          'a call to the CM',
          `${proxied.toFixed(2)} ms`,
          'direct',
          `${direct.toFixed(2)} ms`,
          `${(proxied - direct).toFixed(2)} ms more`,
        ],
      ],
    }),
  );
} finally {
  await rm(directory, { recursive: true, force: true });
}
process.exit(0);
