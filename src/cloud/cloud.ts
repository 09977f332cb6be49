/** A whole cloud: authority, stores, servers. `main.ts` runs one as a daemon, tests run one in their process. */
import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from '../core/index.ts';
import { ensureDirectory, writeFileAtomic } from '../storage/index.ts';
import { AccessChanges } from './access/access-changes.ts';
import { BLOBS_PATH, blobListener } from './blobs/blob-server.ts';
import { BlobVault } from './blobs/blob-vault.ts';
import { BlobDeltas } from './blobs/deltas/blob-deltas.ts';
import { blobDirectory, openBlobFiles } from './blobs/open-blob-files.ts';
import { type CloudConfig, pkiDirectory } from './config.ts';
import { DISCOVERY_PATH, discoveryListener } from './discovery.ts';
import { Campaigns } from './domain/campaigns.ts';
import { RunningServer, tlsOptions } from './http/server.ts';
import { UnitEvents } from './model/unit-events.ts';
import { openAnyDatabase } from './open-database.ts';
import { Authority } from './pki/authority.ts';
import { fingerprintOf } from './pki/x509.ts';
import type { RestParts } from './rest/parts.ts';
import { restListener } from './rest/rest-server.ts';
import { isHistory } from './store/history.ts';
import type { StoreLimits } from './store/stores.ts';
import { FIRST_USER } from './store/users.ts';
import { Fleet } from './units/fleet.ts';
import { FleetMember } from './units/fleet-member.ts';
import { upgradeListener, WEB_SOCKET_PATH } from './units/gateway.ts';
import { NodeProvisioning } from './units/node-provisioning.ts';
import { Renewals } from './units/renewals.ts';
import { webPages } from './web/web-server.ts';

/** Where a cloud can be reached; also the content of `endpoints.json`. */
export interface Endpoints {
  readonly discoveryUrl: string;
  readonly webSocketUrl: string;
  readonly restUrl: string;
  readonly blobsUrl: string;
}

/** Something of the cloud that must be stopped, in reverse order. */
export type Use = <T extends { stop(): Promise<void> | void }>(name: string, part: T) => T;

const LOOPBACK_NAMES = ['localhost', '127.0.0.1'];

/** Starts everything. When it returns, all servers listen and `endpoints.json` says where. */
export async function startCloud(config: CloudConfig, use: Use, logger: Logger): Promise<Endpoints> {
  const { workingDir, hostName, listenHost, ports } = config;
  const now = () => new Date();
  await ensureDirectory(workingDir, 0o700);
  const { database, openCluster } = await openAnyDatabase(config, limitsOf(config), logger);
  use('database', database);
  const cluster = use('cluster', await openCluster());
  const pki = pkiDirectory(config);
  const authority = await cluster.exclusively(() =>
    Authority.open({
      directory: pki,
      hostName,
      otherNames: [...(isConcrete(listenHost) ? [listenHost] : []), ...LOOPBACK_NAMES],
      now,
    }),
  );
  const operator = new X509Certificate(authority.operator.chain);
  const operatorEnd = new Date(operator.validTo);
  await database.write(async ({ certificates, users }) => {
    await certificates.addOperator(fingerprintOf(operator.raw), operator.serialNumber, operatorEnd, now());
    if (!(await users.find(FIRST_USER))) await users.put(FIRST_USER, 'oem', '', now());
  });
  const files = use('blob files', await openBlobFiles(config, logger));
  const vault = await BlobVault.open({
    ...{ directory: blobDirectory(config), files, database, signer: authority.signer, now, logger },
    // What another process has begun is no leftover.
    removesLeftovers: cluster.wasAlone,
  });
  const deltas = use(
    'deltas',
    await BlobDeltas.open({
      ...{ directory: join(workingDir, 'deltas'), limitBytes: config.deltaLimitBytes },
      ...{ vault, database, logger },
    }),
  );

  const blobs = use(
    'blobs',
    await RunningServer.open(
      config.plainBlobs ? undefined : tlsOptions(authority, 'none'),
      blobListener(database, vault, logger, deltas.files),
      ...([ports.blobs, listenHost] as const),
    ),
  );
  const ownBlobsUrl = `${config.plainBlobs ? 'http' : 'https'}://${hostName}:${blobs.port}${BLOBS_PATH}`;
  const blobsUrl = config.blobsUrl?.replace(/\/+$/, '') ?? ownBlobsUrl;
  const events = new UnitEvents(logger);
  events.subscribe((event) => {
    if (isHistory(event)) database.note('an event', ({ history }) => history.addEvent(event));
    cluster.publish(event);
  });
  const access = new AccessChanges(() => cluster.accessChanged());
  // The certificates of units carry the address of the discovery, which listens before the REST interface.
  let discoveryUrl = '';
  const nodes = new NodeProvisioning({ authority, database, events, discoveryUrl: () => discoveryUrl, now, logger });
  const fleet = new Fleet({
    ...{ database, cluster, events, nodes, logger, now },
    blobsUrl: () => blobsUrl,
    deltas,
    onOpen: (systemId) => renewals.look(systemId),
    times: {
      ackTimeoutMs: config.ackTimeout,
      transmissions: config.transmissions,
      pingIntervalMs: config.pingInterval,
    },
  });
  const isOnline = (systemId: string) => fleet.isOnline(systemId);
  const renewals: Renewals = new Renewals({
    ...{ database, renewBeforeMs: config.renewBefore, now, logger },
    // Each process looks after the units that are linked to it.
    isOnline: (systemId) => fleet.isHere(systemId),
    renew: async (systemId, types) => {
      const session = fleet.session(systemId);
      await session.step(() => nodes.renew(systemId, types, (message) => session.send(message)));
    },
  });
  const campaigns = new Campaigns({
    ...{ database, events, isOnline, now, logger },
    desiredChanged: (systemId) => fleet.desiredChanged(systemId),
  });
  const webSocket = await RunningServer.openFrugal(
    tlsOptions(authority, 'required'),
    (_, response) => response.writeHead(426, { upgrade: 'websocket' }).end(),
    ...([ports.webSocket, listenHost] as const),
  );
  const accept = (...claim: Parameters<Fleet['accept']>) => fleet.accept(...claim);
  webSocket.server.on('upgrade', upgradeListener({ database, accept, now, logger }));
  use('webSocket', webSocket);
  use('fleet', fleet);
  await cluster.start(new FleetMember(fleet, events, access));
  await use('campaigns', campaigns).start();
  use('renewals', renewals).start();
  const webSocketUrl = `wss://${hostName}:${webSocket.port}${WEB_SOCKET_PATH}`;
  const discovery = use(
    'discovery',
    await RunningServer.openFrugal(
      tlsOptions(authority, 'required'),
      discoveryListener({
        ...{ database, webSocketUrl: () => webSocketUrl, now, logger },
        rateLimit: config.discoveryRateLimit,
      }),
      ...([ports.discovery, listenHost] as const),
    ),
  );
  discoveryUrl = `https://${hostName}:${discovery.port}${DISCOVERY_PATH}`;
  let restUrl = '';
  const parts: RestParts = {
    ...{ authority, database, vault, fleet, nodes, events, access, hostName, logger, now },
    discoveryUrl: () => discoveryUrl,
    restUrl: () => restUrl,
    pkiDirectory: pki,
    ...{ campaigns, requireVerification: config.requireVerification, rateLimit: config.rateLimit },
    defaultOwner: config.defaultOwner,
    uploadLimits: { blobBytes: config.blobLimitBytes, providerBytes: config.providerLimitBytes },
  };
  const rest = use(
    'rest',
    await RunningServer.open(
      // A browser that has no certificate comes with a token.
      tlsOptions(authority, 'asked'),
      restListener(parts, webPages(parts)),
      ...([ports.rest, listenHost] as const),
    ),
  );
  restUrl = `https://${hostName}:${rest.port}`;
  const endpoints = { discoveryUrl, webSocketUrl, restUrl, blobsUrl: ownBlobsUrl };
  await writeFileAtomic(join(workingDir, 'endpoints.json'), `${JSON.stringify(endpoints, null, 2)}\n`);
  return endpoints;
}

function limitsOf(config: CloudConfig): StoreLimits {
  const { messageLogLimit, monitoringRetention, monitoringLimit, logRetention, logLimitBytes, alertLimit } = config;
  return {
    messages: messageLogLimit,
    samples: { maxAgeMs: monitoringRetention, maxCount: monitoringLimit },
    logs: { maxAgeMs: logRetention, maxBytes: logLimitBytes },
    alerts: alertLimit,
  };
}

const isConcrete = (host: string): boolean => !['', '0.0.0.0', '::'].includes(host);
