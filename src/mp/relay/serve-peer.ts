/** What the proxy does with one connection of its peer: a relay per port (spec/mp.md 7 to 14, spec/decisions.md 3). */
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { iam, sm } from '../../api/contracts.ts';
import * as proxy from '../../api/gen/aosproxy/v1/aosproxy_pb.js';
import type { Channel, TlsIdentity } from '../../api/index.ts';
import { AosError, asAosError, type Clock, isAosError, type Logger } from '../../core/index.ts';
import type { HttpClient } from '../../storage/index.ts';
import { LOG_SWEEP_MS } from '../numbers.ts';
import { acceptTls, type ChannelStream, MessageChannel, type Multiplexer, type PortOptions } from '../wire/index.ts';
import { Calls } from './calls.ts';
import { Downloads } from './downloads.ts';
import type { GrpcTarget } from './grpc-target.ts';
import { KnownUrls } from './known-urls.ts';
import { LogArchives } from './log-archives.ts';
import { NodeMemory } from './node-memory.ts';
import { PeerIdentity } from './peer-identity.ts';
import { encodeForPeer, serveProxyService } from './proxy-service.ts';
import { ServiceManagerMemory } from './service-manager-memory.ts';
import { SilenceWatch } from './silence.ts';
import { relayStream } from './stream-relay.ts';

export interface PortNumbers {
  readonly iamOpen: number;
  readonly iamSecure: number;
  readonly cmOpen: number;
  readonly cmSecure: number;
  readonly proxySecure: number;
  readonly call: number;
}

/** What only a provisioned proxy has. */
export interface SecureParts {
  /** PEM of the roots. */
  readonly ca: string;
  /** Asked at each handshake, so that a new certificate is used. */
  readonly iamIdentity: () => Promise<TlsIdentity>;
  readonly smIdentity: () => Promise<TlsIdentity>;
  readonly iam: GrpcTarget;
  readonly cm: GrpcTarget;
  readonly http: HttpClient;
  readonly cmHost: string;
  readonly fileServerUrl: string;
  readonly logProvider: { readonly maxPartSize: number; readonly maxPartCount: number };
}

export interface ServePeerOptions {
  readonly ports: PortNumbers;
  /** The public server of the main IAM. */
  readonly publicIam: GrpcTarget;
  /** Absent in provisioning mode: only the open channels are served. */
  readonly secure?: SecureParts;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The ports of a connection; downloads give way to everything else. */
export function proxyPorts(ports: PortNumbers, isProvisioned: boolean): PortOptions[] {
  const open = [ports.iamOpen, ports.cmOpen].map((port) => ({ port, secure: false }));
  if (!isProvisioned) return open;
  const secure = [ports.iamSecure, ports.cmSecure, ports.call].map((port) => ({ port, secure: true }));
  return [...open, ...secure, { port: ports.proxySecure, secure: true, background: true }];
}

type PortServer = (channel: MessageChannel) => Promise<void>;

/** Serves until the signal aborts. */
export async function servePeer(
  options: ServePeerOptions,
  multiplexer: Multiplexer,
  signal: AbortSignal,
): Promise<void> {
  const peer = new PeerConnection(options, multiplexer, signal);
  await peer.serve();
}

class PeerConnection {
  readonly #options: ServePeerOptions;
  readonly #multiplexer: Multiplexer;
  readonly #signal: AbortSignal;
  readonly #identity = new PeerIdentity();
  readonly #urls: KnownUrls;
  readonly #silence: SilenceWatch;
  #openOfServiceManager = 0;
  /** The channel on which the node described itself last. */
  #nodeChannel: MessageChannel | undefined;

  constructor(options: ServePeerOptions, multiplexer: Multiplexer, signal: AbortSignal) {
    this.#options = options;
    this.#multiplexer = multiplexer;
    this.#signal = signal;
    this.#silence = new SilenceWatch({ connection: multiplexer, clock: options.clock, signal });
    this.#urls = new KnownUrls(options.secure?.fileServerUrl ?? '');
  }

  async serve(): Promise<void> {
    const { ports, publicIam, secure } = this.#options;
    const open = [
      this.#servePort(ports.iamOpen, (channel) => this.#relayNode(channel, publicIam)),
      this.#servePort(ports.cmOpen, (channel) => this.#serveProxy(channel)),
    ];
    if (!secure) {
      await Promise.all(open);
      return;
    }
    const ofServiceManager = (port: number, serve: PortServer) =>
      this.#servePort(port, (channel) => this.#asServiceManager(channel, serve), secure.smIdentity);
    await Promise.all([
      ...open,
      this.#servePort(ports.iamSecure, (channel) => this.#relayNode(channel, secure.iam), secure.iamIdentity),
      ofServiceManager(ports.cmSecure, (channel) => this.#relayServiceManager(channel, secure)),
      ofServiceManager(ports.proxySecure, (channel) => this.#serveProxy(channel, secure)),
      ofServiceManager(ports.call, (channel) => this.#serveCalls(channel, secure)),
    ]);
  }

  /** One channel after another, until the connection ends. */
  async #servePort(port: number, serve: PortServer, identity?: () => Promise<TlsIdentity>): Promise<void> {
    for await (const stream of this.#multiplexer.incoming(port)) {
      const logger = this.#options.logger.child({ port });
      let channel: MessageChannel | undefined;
      try {
        channel = identity ? await this.#secure(stream, identity, logger) : new MessageChannel(stream, logger);
        logger.info({}, 'the peer opened a channel');
        await serve(channel);
        logger.info({ reason: String(channel.closed.reason?.message ?? 'ended') }, 'a channel is closed');
      } catch (error) {
        if (this.#signal.aborted) return;
        logger.warn({ error: asAosError(error).message }, 'a channel is closed');
      } finally {
        // With TLS the end is told to the peer first.
        if (channel) channel.close(new AosError('canceled', 'not served any more'));
        else stream.destroy();
      }
    }
  }

  async #secure(stream: ChannelStream, identity: () => Promise<TlsIdentity>, logger: Logger): Promise<MessageChannel> {
    const { ca } = this.#options.secure!;
    const session = await acceptTls(stream, { identity: await identity(), ca }, this.#signal);
    return new MessageChannel(stream, logger, session);
  }

  async #asServiceManager(channel: MessageChannel, serve: PortServer): Promise<void> {
    this.#identity.showed(channel.certificate ?? '');
    this.#openOfServiceManager += 1;
    try {
      await serve(channel);
    } finally {
      this.#openOfServiceManager -= 1;
      if (this.#openOfServiceManager === 0) this.#identity.forgetCertificate();
    }
  }

  async #relayNode(channel: MessageChannel, target: GrpcTarget): Promise<void> {
    const { clock, logger } = this.#options;
    const read = this.#reader(channel, (body) => fromBinary(iam.IAMOutgoingMessagesSchema, body), isSaid);
    await relayStream<iam.IAMOutgoingMessages, iam.IAMIncomingMessages>({
      channel,
      target,
      open: (grpc, outgoing, signal) => grpc.client(iam.IAMPublicNodesService).registerNode(outgoing, { signal }),
      fromPeer: (body) => read(body),
      toPeer: (message) => toBinary(iam.IAMIncomingMessagesSchema, message),
      memory: new NodeMemory(this.#identity, () => this.#registersOn(channel)),
      clock,
      logger,
    });
  }

  /** A node that was provisioned comes back on the other channel; what was remembered of it there is out of date. */
  #registersOn(channel: MessageChannel): void {
    if (this.#nodeChannel === channel) return;
    this.#nodeChannel?.close(new AosError('canceled', 'the node registers on another channel'));
    this.#nodeChannel = channel;
  }

  async #relayServiceManager(channel: MessageChannel, { cm, logProvider }: SecureParts): Promise<void> {
    const { clock, logger } = this.#options;
    const archives = new LogArchives({ ...logProvider, clock, logger });
    const sweeping = setInterval(() => archives.sweep(), LOG_SWEEP_MS);
    const read = this.#reader(channel, (body) => fromBinary(sm.SMOutgoingMessagesSchema, body), isSaidBySm);
    try {
      await relayStream<sm.SMOutgoingMessages, sm.SMIncomingMessages>({
        channel,
        target: cm,
        open: (grpc, outgoing, signal) => grpc.client(sm.SMService).registerSM(outgoing, { signal }),
        fromPeer: (body) => read(body).flatMap((message) => archiveLogs(message, archives)),
        toPeer: (message) => toBinary(sm.SMIncomingMessagesSchema, message),
        memory: new ServiceManagerMemory(this.#identity),
        clock,
        logger,
      });
    } finally {
      clearInterval(sweeping);
    }
  }

  async #serveProxy(channel: MessageChannel, secure?: SecureParts): Promise<void> {
    const { clock, logger } = this.#options;
    const downloads = secure && {
      downloads: new Downloads({
        http: secure.http,
        urls: this.#urls,
        cmHost: secure.cmHost,
        ca: secure.ca,
        send: (value) => channel.send(encodeForPeer({ case: 'downloadContent', value })),
        clock,
        logger,
      }),
    };
    const onClockRequest = () => this.#silence.asked();
    await serveProxyService({ channel, identity: this.#identity, ...downloads, onClockRequest, clock, logger });
  }

  async #serveCalls(channel: MessageChannel, { cm }: SecureParts): Promise<void> {
    const calls = new Calls({
      channel: (): Promise<Channel> => cm.channel(),
      identity: this.#identity,
      urls: this.#urls,
      send: (reply) => channel.send(toBinary(proxy.ProxyReplySchema, reply)),
    });
    const read = this.#reader(
      channel,
      (body) => fromBinary(proxy.ProxyCallSchema, body),
      () => true,
    );
    try {
      for await (const body of channel.messages()) for (const call of read(body)) await calls.take(call);
    } finally {
      calls.close();
    }
  }

  /** Messages of another API are dropped, and said once per channel. */
  #reader<T>(channel: MessageChannel, parse: (body: Buffer) => T, isKnown: (message: T) => boolean) {
    let hasComplained = false;
    return (body: Buffer): T[] => {
      try {
        const message = parse(body);
        if (isKnown(message)) return [message];
      } catch (error) {
        if (isAosError(error)) throw error;
        // Not protobuf of this shape; said below.
      }
      if (!hasComplained) {
        hasComplained = true;
        this.#options.logger.warn({ port: channel.port }, 'peer speaks an older API; what it says is dropped');
      }
      return [];
    };
  }
}

const isSaid = ({ IAMOutgoingMessage: { case: kind } }: iam.IAMOutgoingMessages) => kind !== undefined;
const isSaidBySm = ({ SMOutgoingMessage: { case: kind } }: sm.SMOutgoingMessages) => kind !== undefined;

function archiveLogs(message: sm.SMOutgoingMessages, archives: LogArchives): sm.SMOutgoingMessages[] {
  const { case: kind, value } = message.SMOutgoingMessage;
  if (kind !== 'log') return [message];
  return archives
    .take(value)
    .map((log) => (log === value ? message : { ...message, SMOutgoingMessage: { case: 'log', value: log } }));
}
