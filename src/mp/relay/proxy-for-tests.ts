/** A proxy in this process, between a scripted peer and a scripted main node. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Duplex, duplexPair } from 'node:stream';
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { iam, network, sm } from '../../api/contracts.ts';
import * as proxy from '../../api/gen/aosproxy/v1/aosproxy_pb.js';
import { ApiServer, type TlsIdentity } from '../../api/index.ts';
import { AosError, type Clock, Mailbox, silentLogger, systemClock } from '../../core/index.ts';
import { HttpClient } from '../../storage/index.ts';
import { connectTls, MessageChannel, Multiplexer } from '../wire/index.ts';
import type { TestTls } from '../wire/pair-for-tests.ts';
import { GrpcTarget } from './grpc-target.ts';
import { proxyPorts, servePeer } from './serve-peer.ts';

export const PORTS = { iamOpen: 1, iamSecure: 2, cmOpen: 3, cmSecure: 4, proxySecure: 5, call: 6 };

/** Pauses of the proxy are over at once. */
export const hurried: Clock = { ...systemClock, sleep: (_, signal) => systemClock.sleep(1, signal) };

/** One stream that the proxy opened at the main node. */
export class MainStream<Out, In> {
  readonly outgoing = new Mailbox<In>(10_000);
  readonly #incoming: AsyncIterator<Out>;
  readonly ended: Promise<void>;

  constructor(incoming: AsyncIterable<Out>, signal: AbortSignal) {
    this.#incoming = incoming[Symbol.asyncIterator]();
    this.ended = new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
  }

  /** The next message; rejects when the proxy ended the stream. */
  async next(): Promise<Out> {
    const { value, done } = await this.#incoming.next();
    if (done) throw new Error('the stream ended');
    return value as Out;
  }

  end(): void {
    this.outgoing.close();
  }
}

type NodeStream = MainStream<iam.IAMOutgoingMessages, MessageInitShape<typeof iam.IAMIncomingMessagesSchema>>;
type ManagerStream = MainStream<sm.SMOutgoingMessages, MessageInitShape<typeof sm.SMIncomingMessagesSchema>>;

export class MainNode {
  readonly #server: ApiServer;
  readonly #files: Server;
  readonly #nodeStreams: AsyncIterator<NodeStream>;
  readonly #managerStreams: AsyncIterator<ManagerStream>;
  /** Files by path. */
  readonly files: Map<string, Buffer>;
  /** Files that have no end, by path, and how many bytes of each were sent. */
  readonly endless: Map<string, number>;
  /** Paths that answer an error so many times. */
  readonly broken: Map<string, number>;
  readonly requests: { readonly path: string; readonly range: string | undefined }[];
  readonly networkCalls: network.SyncNetworkStateRequest[];
  readonly updates: Mailbox<MessageInitShape<typeof network.InstanceNetworkUpdateNotificationSchema>>;

  private constructor(server: ApiServer, files: Server, parts: ReturnType<typeof makeParts>) {
    this.#server = server;
    this.#files = files;
    this.#nodeStreams = parts.nodeStreams[Symbol.asyncIterator]();
    this.#managerStreams = parts.managerStreams[Symbol.asyncIterator]();
    ({
      files: this.files,
      endless: this.endless,
      broken: this.broken,
      requests: this.requests,
      networkCalls: this.networkCalls,
      updates: this.updates,
    } = parts);
  }

  static async open(): Promise<MainNode> {
    const parts = makeParts();
    const files = createServer((request, response) => answerFile(parts, request.url!, request.headers.range, response));
    await new Promise<void>((resolve) => files.listen(0, '127.0.0.1', resolve));
    const filePort = (files.address() as AddressInfo).port;
    const server = await ApiServer.open({
      listen: '127.0.0.1:0',
      logger: silentLogger,
      routes: (router) => {
        router.service(iam.IAMPublicNodesService, {
          async *registerNode(messages, { signal }) {
            const stream: NodeStream = new MainStream(messages, signal);
            parts.nodeStreams.push(stream);
            yield* stream.outgoing;
          },
        });
        router.service(sm.SMService, {
          async *registerSM(messages, { signal }) {
            const stream: ManagerStream = new MainStream(messages, signal);
            parts.managerStreams.push(stream);
            yield* stream.outgoing;
          },
          getBlobsInfos: ({ digests }) => ({ urls: digests.map((digest) => `http://localhost:${filePort}/${digest}`) }),
        });
        router.service(network.NetworkService, {
          syncNetworkState: (request) => {
            parts.networkCalls.push(request);
            return {};
          },
          subscribeInstanceNetworkUpdates: () => parts.updates,
        });
      },
    });
    return new MainNode(server, files, parts);
  }

  get address(): string {
    return `localhost:${this.#server.address.port}`;
  }

  get fileUrl(): string {
    return `http://localhost:${(this.#files.address() as AddressInfo).port}`;
  }

  async nodeStream(): Promise<NodeStream> {
    return (await this.#nodeStreams.next()).value as NodeStream;
  }

  async managerStream(): Promise<ManagerStream> {
    return (await this.#managerStreams.next()).value as ManagerStream;
  }

  async close(): Promise<void> {
    this.#files.closeAllConnections();
    await new Promise((resolve) => this.#files.close(resolve));
    await this.#server.close();
  }
}

function makeParts() {
  return {
    nodeStreams: new Mailbox<NodeStream>(100),
    managerStreams: new Mailbox<ManagerStream>(100),
    files: new Map<string, Buffer>(),
    endless: new Map<string, number>(),
    broken: new Map<string, number>(),
    requests: [] as { path: string; range: string | undefined }[],
    networkCalls: [] as network.SyncNetworkStateRequest[],
    updates: new Mailbox<MessageInitShape<typeof network.InstanceNetworkUpdateNotificationSchema>>(10),
  };
}

type Response = Parameters<Parameters<typeof createServer>[1] & object>[1];

function answerFile(
  parts: ReturnType<typeof makeParts>,
  path: string,
  range: string | undefined,
  response: Response,
): void {
  parts.requests.push({ path, range });
  if (parts.endless.has(path)) {
    const piece = Buffer.alloc(64 * 1024);
    const more = () => {
      if (response.destroyed) return;
      parts.endless.set(path, parts.endless.get(path)! + piece.length);
      if (response.write(piece)) setImmediate(more);
      else response.once('drain', more);
    };
    more();
    return;
  }
  const file = parts.files.get(path);
  const left = parts.broken.get(path) ?? 0;
  if (!file) {
    response.writeHead(404).end();
    return;
  }
  const offset = Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
  const body = file.subarray(offset);
  const headers = { 'content-length': String(body.length) };
  if (range)
    response.writeHead(206, { ...headers, 'content-range': `bytes ${offset}-${file.length - 1}/${file.length}` });
  else response.writeHead(200, headers);
  if (left === 0) {
    response.end(body);
    return;
  }
  // Breaks off in the middle.
  parts.broken.set(path, left - 1);
  response.write(body.subarray(0, Math.floor(body.length / 2)), () => setImmediate(() => response.destroy()));
}

export interface ProxyOptions {
  readonly main: MainNode;
  readonly tls: TestTls;
  readonly isProvisioned?: boolean;
  readonly clock?: Clock;
  readonly fileServerUrl?: string;
}

/** A peer that does what the test says, connected to a proxy. */
export class ScriptedPeer {
  readonly multiplexer: Multiplexer;
  /** The proxy's end. */
  readonly proxy: Multiplexer;
  /** What the peer writes to, for bytes that no multiplexer would send. */
  readonly raw: Duplex;
  readonly serving: Promise<void>;
  readonly #tls: TestTls;
  readonly #ended = new AbortController();
  readonly #targets: GrpcTarget[];
  readonly #http = new HttpClient();
  readonly #channels = new Map<number, AsyncIterator<Buffer>>();

  constructor(options: ProxyOptions) {
    const { main, tls, isProvisioned = true, clock = hurried, fileServerUrl = '' } = options;
    this.#tls = tls;
    const [one, other] = duplexPair();
    this.raw = other;
    const common = { ports: proxyPorts(PORTS, isProvisioned), clock, logger: silentLogger };
    this.proxy = new Multiplexer({ ...common, stream: one, side: 'server' });
    this.multiplexer = new Multiplexer({ ...common, stream: other, side: 'client' });
    const target = (name: string) =>
      new GrpcTarget({
        name,
        address: main.address,
        credentials: [() => Promise.resolve(undefined)],
        clock,
        logger: silentLogger,
      });
    const [publicIam, protectedIam, cm] = [target('public IAM'), target('protected IAM'), target('CM')];
    this.#targets = [publicIam, protectedIam, cm];
    const secure = {
      ca: tls.ca,
      iamIdentity: () => Promise.resolve(tls.proxy),
      smIdentity: () => Promise.resolve(tls.proxy),
      iam: protectedIam,
      cm,
      http: this.#http,
      cmHost: 'localhost',
      fileServerUrl,
      logProvider: { maxPartSize: 10_240, maxPartCount: 10 },
    };
    this.serving = servePeer(
      { ports: PORTS, publicIam, ...(isProvisioned ? { secure } : {}), clock, logger: silentLogger },
      this.proxy,
      this.#ended.signal,
    );
  }

  open(port: number): MessageChannel {
    return new MessageChannel(this.multiplexer.open(port), silentLogger);
  }

  async secure(port: number, identity: TlsIdentity = this.#tls.peer): Promise<MessageChannel> {
    const stream = this.multiplexer.open(port);
    const session = await connectTls(stream, { identity, ca: this.#tls.ca }, this.#ended.signal);
    return new MessageChannel(stream, silentLogger, session);
  }

  /** The next message on a channel. */
  async next<S extends DescMessage>(channel: MessageChannel, schema: S): Promise<MessageShape<S>> {
    const messages = this.#channels.get(channel.port) ?? channel.messages();
    this.#channels.set(channel.port, messages);
    const { value, done } = await messages.next();
    if (done) throw new Error('the channel ended');
    return fromBinary(schema, value);
  }

  async close(): Promise<void> {
    this.#ended.abort(new AosError('canceled', 'the test is over'));
    this.multiplexer.close(new AosError('canceled', 'the test is over'));
    await this.serving;
    for (const target of this.#targets) target.close();
    this.#http.close();
  }
}

export function send<S extends DescMessage>(
  channel: MessageChannel,
  schema: S,
  init: MessageInitShape<S>,
): Promise<void> {
  return channel.send(toBinary(schema, create(schema, init)));
}

export const sayNode = (channel: MessageChannel, message: iam.IAMOutgoingMessages['IAMOutgoingMessage']) =>
  send(channel, iam.IAMOutgoingMessagesSchema, { IAMOutgoingMessage: message });
export const nodeInfo = (nodeId: string, state = 'provisioned') => ({
  case: 'nodeInfo' as const,
  value: create(iam.NodeInfoSchema, { nodeId, state }),
});
export const sayManager = (
  channel: MessageChannel,
  message: MessageInitShape<typeof sm.SMOutgoingMessagesSchema>['SMOutgoingMessage'],
) => send(channel, sm.SMOutgoingMessagesSchema, { SMOutgoingMessage: message! });
export const sayProxy = (
  channel: MessageChannel,
  message: MessageInitShape<typeof sm.ProxyOutgoingMessagesSchema>['ProxyOutgoingMessage'],
) => send(channel, sm.ProxyOutgoingMessagesSchema, { ProxyOutgoingMessage: message! });
export const sayCall = (channel: MessageChannel, call: MessageInitShape<typeof proxy.ProxyCallSchema>) =>
  send(channel, proxy.ProxyCallSchema, call);
