/** Builds the proxy's half: the side that has a network (spec/mp.md 3). */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { AosError, asAosError, type Clock } from '../core/index.ts';
import { ControlServer, IamCredentials, type Life } from '../daemon/index.ts';
import { HttpClient } from '../storage/index.ts';
import type { MpConfig } from './config.ts';
import { RENEW_MS, TRANSPORT_RETRY_MS } from './numbers.ts';
import { type Credential, GrpcTarget } from './relay/grpc-target.ts';
import { type PortNumbers, proxyPorts, type SecureParts, servePeer } from './relay/serve-peer.ts';
import { openTransport } from './transport/open-transport.ts';
import { isEverywhere } from './transport/tcp.ts';
import { Link } from './wire/index.ts';

/** Of a certificate that may stand for a server. */
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';

export function portNumbers({ iamConfig, cmConfig, proxyConfig }: MpConfig): PortNumbers {
  return {
    iamOpen: iamConfig.openPort,
    iamSecure: iamConfig.securePort,
    cmOpen: cmConfig.openPort,
    cmSecure: cmConfig.securePort,
    proxySecure: proxyConfig.securePort,
    call: proxyConfig.callPort,
  };
}

export async function openProxy(config: MpConfig, provisioning: boolean, clock: Clock, life: Life): Promise<Link> {
  const { logger } = life;
  const { iamConfig } = config;
  const { checkHostName } = config.tls;
  const ca = readCa(config, !provisioning);
  const plain: Credential = () => Promise.resolve(undefined);
  const byServerCertificate: Credential = () => Promise.resolve({ ca: ca!, checkHostName });
  const publicIam = new GrpcTarget({
    name: 'public server of the main IAM',
    address: iamConfig.iamMainPublicServerUrl,
    credentials: provisioning ? [plain, ...(ca ? [byServerCertificate] : [])] : [byServerCertificate],
    clock,
    logger,
  });
  life.use('public server of the main IAM', { stop: () => publicIam.close() });
  const credentials = provisioning
    ? undefined
    : new IamCredentials({
        publicAddress: iamConfig.iamPublicServerUrl,
        caFile: config.caCert,
        checkHostName,
        logger,
        signal: life.signal,
        onStaleToken: (reason) => life.startOver(reason),
      });
  const secure = credentials && (await openSecureParts(config, ca!, credentials, clock, life));

  const transport = await openTransport(config, logger);
  const ports = portNumbers(config);
  const link = new Link({
    transport,
    ports: proxyPorts(ports, !provisioning),
    side: 'server',
    retryMs: TRANSPORT_RETRY_MS,
    serve: (multiplexer, signal) =>
      servePeer({ ports, publicIam, ...(secure ? { secure } : {}), clock, logger }, multiplexer, signal),
    clock,
    logger,
  });
  life.use('transport', link);
  if (credentials && secure) followCertificates(config, credentials, secure, link, life);
  link.start();
  logger.info({ listen: transport.address }, 'waiting for the peer');
  if (!config.transport.helper && isEverywhere(config.transport.listen)) {
    const text =
      'whoever reaches this host by any network may be the peer; give "transport.listen" the address of its link';
    logger.warn({ listen: config.transport.listen }, text);
  }
  if (config.controlSocket !== undefined) {
    const status = () => ({
      mode: provisioning ? 'provisioning' : 'normal',
      transport: link.report,
      targets: [publicIam, ...(secure ? [secure.iam, secure.cm] : [])].map(({ address, lastError }) => ({
        address,
        ...(lastError === undefined ? {} : { lastError }),
      })),
    });
    life.use('control socket', await ControlServer.open(config.controlSocket, { '/status': status }));
  }
  return link;
}

/** Roots of the unit; a blank node may do without. */
export function readCa({ caCert }: MpConfig, required: boolean): string | undefined {
  try {
    return readFileSync(caCert, 'utf8');
  } catch (error) {
    if (required) throw asAosError(error, `cannot read "caCert" ${caCert}`);
    return undefined;
  }
}

async function openSecureParts(
  config: MpConfig,
  ca: string,
  credentials: IamCredentials,
  clock: Clock,
  life: Life,
): Promise<SecureParts> {
  const { iamConfig, cmConfig, proxyConfig, vchan } = config;
  const { checkHostName } = config.tls;
  const { logger } = life;
  const mutual =
    (type: string): Credential =>
    async () => ({ ca, checkHostName, identity: await credentials.identity(type) });
  const target = (name: string, address: string, type: string) => {
    const made = new GrpcTarget({ name, address, credentials: [mutual(type)], clock, logger });
    life.use(name, { stop: () => made.close() });
    return made;
  };
  const http = new HttpClient();
  life.use('file server', { stop: () => http.close() });
  for (const type of new Set([vchan.iamCertStorage, vchan.smCertStorage])) {
    const { certificateChain } = await credentials.identity(type);
    // Peers of the old kind do not look; others refuse it (spec/decisions.md C-88).
    const usages = new X509Certificate(certificateChain).keyUsage as readonly string[] | undefined;
    if (usages && !usages.includes(SERVER_AUTH)) {
      logger.warn({ type }, 'this certificate is not meant for servers; peers that look at its usage refuse it');
    }
  }
  return {
    ca,
    iamIdentity: () => credentials.identity(vchan.iamCertStorage),
    smIdentity: () => credentials.identity(vchan.smCertStorage),
    iam: target('protected server of the main IAM', iamConfig.iamMainProtectedServerUrl, iamConfig.certStorage),
    cm: target('CM', cmConfig.cmServerUrl, config.certStorage),
    http,
    cmHost: cmConfig.cmServerUrl.slice(0, cmConfig.cmServerUrl.lastIndexOf(':')),
    fileServerUrl: proxyConfig.fileServerUrl,
    logProvider: config.logProvider,
  };
}

/** Streams are opened again with a new certificate; the transport is closed once for the channels (spec/mp.md 15). */
function followCertificates(
  config: MpConfig,
  credentials: IamCredentials,
  { iam, cm }: SecureParts,
  link: Link,
  life: Life,
): void {
  const reactions: readonly (readonly [string, () => void])[] = [
    [config.certStorage, () => cm.close()],
    [config.iamConfig.certStorage, () => iam.close()],
    [config.vchan.iamCertStorage, () => link.reset(renewed(config.vchan.iamCertStorage))],
    [config.vchan.smCertStorage, () => link.reset(renewed(config.vchan.smCertStorage))],
  ];
  const timers = new Map<string, NodeJS.Timeout>();
  for (const type of new Set(reactions.map(([of]) => of))) {
    const react = () => {
      life.logger.info({ type }, 'a new certificate: connections are opened again');
      for (const [of, reaction] of reactions) if (of === type) reaction();
    };
    const unsubscribe = credentials.onChange(type, () => {
      clearTimeout(timers.get(type));
      timers.set(type, setTimeout(react, RENEW_MS));
    });
    life.use(`certificate ${type}`, {
      stop: () => {
        unsubscribe();
        clearTimeout(timers.get(type));
      },
    });
  }
}

function renewed(type: string): AosError {
  return new AosError('canceled', `the certificate "${type}" was renewed`);
}
