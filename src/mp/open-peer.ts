/** Builds the peer's half: local servers that stand for the main node (docs/decisions/0011-the-peer-is-a-mode-of-the-proxy.md). */
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { iam, sm } from '../api/contracts.ts';
import { ApiServer, asCallError, type ServerTls, UNARY_DEADLINE_MS } from '../api/index.ts';
import { AosError, asAosError, type Clock } from '../core/index.ts';
import { ControlServer, IamCredentials, type Life } from '../daemon/index.ts';
import { setSystemTime } from '../platform/clock/index.ts';
import type { MpConfig } from './config.ts';
import { RENEW_MS, STREAM_RETRY_MS, TRANSPORT_RETRY_MS } from './numbers.ts';
import { portNumbers, readCa } from './open-proxy.ts';
import { CallClient } from './peer/call-client.ts';
import { FileClient, LINK_LOST } from './peer/file-client.ts';
import { FileDoor } from './peer/file-door.ts';
import { followClock } from './peer/follow-clock.ts';
import { cmServices, iamServices } from './peer/local-services.ts';
import { PeerSession } from './peer/peer-session.ts';
import { type PortNumbers, proxyPorts } from './relay/serve-peer.ts';
import { openTransport } from './transport/open-transport.ts';
import { Link, MessageChannel } from './wire/index.ts';

/** Old streams of the local servers end so long after a new certificate. */
const CLOSE_OLD_STREAMS_MS = 1_000;

interface Context {
  readonly config: MpConfig;
  readonly ports: PortNumbers;
  readonly session: PeerSession;
  readonly clock: Clock;
  readonly life: Life;
}

export async function openPeer(config: MpConfig, provisioning: boolean, clock: Clock, life: Life): Promise<Link> {
  const { logger } = life;
  const ports = portNumbers(config);
  const transport = await openTransport(config, logger);
  const session = new PeerSession({ proxyAddress: transport.address, logger });
  const context = { config, ports, session, clock, life };
  const link = new Link({
    transport,
    ports: proxyPorts(ports, !provisioning),
    side: 'client',
    retryMs: TRANSPORT_RETRY_MS,
    serve: (multiplexer, signal) => {
      const following = followClock(
        {
          open: () => new MessageChannel(multiplexer.open(ports.cmOpen), logger),
          connection: multiplexer,
          ...(config.peer.setClock ? { setTime: (time: Date) => setSystemTime(time, signal) } : {}),
          clock,
          logger,
          signal,
        },
        () => session.use(multiplexer),
      );
      return following;
    },
    clock,
    logger,
  });
  life.use('link to the proxy', link);
  if (provisioning) await openBlankDoor(context, link);
  else await openDoors(context, link);
  link.start();
  if (config.controlSocket !== undefined) {
    const status = () => ({ mode: provisioning ? 'peer, provisioning' : 'peer', transport: link.report });
    life.use('control socket', await ControlServer.open(config.controlSocket, { '/status': status }));
  }
  return link;
}

/** A blank node registers at the public server, in plain text. */
async function openBlankDoor({ config, ports, session, life }: Context, link: Link): Promise<void> {
  const open = async (signal: AbortSignal) => {
    const channel = await session.open(ports.iamOpen, signal);
    // An open channel has no end of its own; only the end of the connection tells the proxy that the node is gone.
    channel.closed.addEventListener('abort', () => link.reset(asAosError(channel.closed.reason)), { once: true });
    return channel;
  };
  const server = await ApiServer.open({
    listen: config.peer.iamPublicListen,
    routes: (router) => iamServices(router, open),
    logger: life.logger,
  });
  life.use('public server', { stop: () => server.close() });
}

async function openDoors({ config, ports, session, clock, life }: Context, link: Link): Promise<void> {
  const { logger } = life;
  const { peer, vchan } = config;
  const ca = readCa(config, true)!;
  const credentials = new IamCredentials({
    publicAddress: config.iamConfig.iamPublicServerUrl,
    caFile: config.caCert,
    checkHostName: config.tls.checkHostName,
    logger,
    signal: life.signal,
    onStaleToken: (reason) => life.startOver(reason),
  });
  const nodeId = await ownNodeId(credentials, clock, life);
  const secure = (port: number, type: string) => async (signal: AbortSignal) =>
    session.open(port, signal, { identity: await credentials.identity(type), ca });
  const calls = new CallClient({ open: () => secure(ports.call, vchan.smCertStorage)(life.signal) });
  const fileClient = new FileClient({
    open: () => secure(ports.proxySecure, vchan.smCertStorage)(life.signal),
    nodeId,
  });
  const files = await FileDoor.open({
    listen: peer.fileListen,
    addressOf: (digest, signal) => addressOf(calls, digest, signal),
    read: (url, offset, signal) => fileClient.read(url, offset, signal),
    clock,
    logger,
  });
  life.use('file server', files);

  const tls = async (): Promise<ServerTls> => ({
    identity: await credentials.identity(peer.certStorage),
    ca,
    clientCertificate: 'required',
  });
  const iamServer = await ApiServer.open({
    listen: peer.iamProtectedListen,
    tls: await tls(),
    routes: (router) => iamServices(router, secure(ports.iamSecure, vchan.iamCertStorage)),
    logger,
  });
  life.use('protected server', { stop: () => iamServer.close() });
  const cmServer = await ApiServer.open({
    listen: peer.cmListen,
    tls: await tls(),
    routes: (router) => cmServices(router, { open: secure(ports.cmSecure, vchan.smCertStorage), calls, files }),
    logger,
  });
  life.use('CM server', { stop: () => cmServer.close() });
  const replaceTls = async () => {
    const renewed = await tls();
    for (const server of [iamServer, cmServer]) server.replaceTls(renewed, CLOSE_OLD_STREAMS_MS);
  };
  followCertificates({ config, credentials, link, life, replaceTls });
}

/** Where the proxy finds a blob. Throws `notFound`, or `failed` with `LINK_LOST`. */
async function addressOf(calls: CallClient, digest: string, signal: AbortSignal): Promise<string> {
  const request = create(sm.BlobsInfosRequestSchema, { digests: [digest] });
  try {
    const { urls } = await calls.unary(sm.SMService.method.getBlobsInfos, request, signal);
    if (urls[0]) return urls[0];
  } catch (error) {
    const { code, rawMessage } = ConnectError.from(error);
    if (code !== Code.Unavailable) throw error;
    throw new AosError('failed', rawMessage, { cause: error, fields: LINK_LOST });
  }
  throw new AosError('notFound', `the CM has no address for blob ${digest}`);
}

interface FollowCertificates {
  readonly config: MpConfig;
  readonly credentials: IamCredentials;
  readonly link: Link;
  readonly life: Life;
  readonly replaceTls: () => Promise<void>;
}

/** The servers show the new certificate to new connections; the channels are opened again. */
function followCertificates({ config, credentials, link, life, replaceTls }: FollowCertificates): void {
  const { peer, vchan } = config;
  const timers = new Map<string, NodeJS.Timeout>();
  const renew = (type: string) => {
    if (type === peer.certStorage) {
      replaceTls().catch((error: unknown) =>
        life.logger.error({ type, error: asAosError(error).message }, 'the new certificate cannot be used'),
      );
    }
    link.reset(new AosError('canceled', `the certificate "${type}" was renewed`));
  };
  for (const type of new Set([peer.certStorage, vchan.iamCertStorage, vchan.smCertStorage])) {
    const unsubscribe = credentials.onChange(type, () => {
      clearTimeout(timers.get(type));
      timers.set(
        type,
        setTimeout(() => renew(type), RENEW_MS),
      );
    });
    life.use(`certificate ${type}`, {
      stop: () => {
        unsubscribe();
        clearTimeout(timers.get(type));
      },
    });
  }
}

/** Asks the local IAM until it answers. */
async function ownNodeId(credentials: IamCredentials, clock: Clock, { signal, logger }: Life): Promise<string> {
  const client = credentials.channel.client(iam.IAMPublicCurrentNodeService);
  for (;;) {
    try {
      const { nodeId } = await client.getCurrentNodeInfo({}, { signal, timeoutMs: UNARY_DEADLINE_MS });
      return nodeId;
    } catch (error) {
      if (signal.aborted) throw error;
      logger.warn({ error: asCallError(error, 'no answer').message }, 'the local IAM does not answer; trying again');
      await clock.sleep(STREAM_RETRY_MS, signal);
    }
  }
}
