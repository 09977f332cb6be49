/** Makes all modules of the CM and gives each what it needs; nothing starts here. */
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { instanceKey, instanceName, type Logger, systemClock } from '../core/index.ts';
import type { BlobUrls } from '../protocol/index.ts';
import { DatabaseCopy, parseCertificates } from '../storage/index.ts';
import { BundleDesk } from './bundles/index.ts';
import { CertificateRenewal, NodeProvisioning } from './certificates/index.ts';
import type { CmConfig } from './config.ts';
import type { EventLog } from './events/index.ts';
import type { Identity } from './identity.ts';
import {
  advertisedHost,
  CloudBlobSource,
  DownloadDiary,
  downloadAlert,
  hostDisk,
  openImages,
  parseFileServerUrl,
  SpaceKeeper,
} from './images/index.ts';
import { InstanceStore, Launcher, readSystemIds } from './launcher/index.ts';
import { CloudLink, SqliteOutboxStore } from './link/index.ts';
import { HostsFile, NetworkManager, NetworkService, NetworkStore } from './networks/index.ts';
import { NodeDirectory, SmController } from './nodes/index.ts';
import {
  AlertReports,
  LogRequests,
  logUploader,
  MonitoringReports,
  resourceAlert,
  stateAlert,
} from './reports/index.ts';
import { StatusReporter } from './status/index.ts';
import { StateStore, StorageState } from './storage-state/index.ts';
import { DATABASE_FILE } from './store.ts';
import { UnitConfig } from './unit-config/index.ts';
import {
  NOTHING_DESIRED,
  reportedInstances,
  reportedItems,
  trustOf,
  UpdateGate,
  UpdateManager,
  UpdateStore,
} from './updates/index.ts';

export interface Ground {
  readonly config: CmConfig;
  /** PEM of the roots of trust. */
  readonly ca: string;
  readonly database: DatabaseSync;
  readonly events: EventLog;
  readonly logger: Logger;
}

export type Modules = Awaited<ReturnType<typeof makeModules>>;

export async function makeModules(ground: Ground, { credentials, iam, orders, server }: Identity) {
  const { config, ca, database, events, logger } = ground;
  const clock = systemClock;
  const { systemId } = iam.system;

  // What the others are built on.
  const roots = parseCertificates(ca);
  const link = new CloudLink({
    systemId,
    discovery: config,
    ca,
    credentials,
    store: new SqliteOutboxStore(database),
    cloudResponseWaitTimeoutMs: config.cloudResponseWaitTimeout,
    cloudMessageLog: config.cloudMessageLog,
    numbers: { reconnectFirstMs: config.cloudReconnect.first, reconnectMaxMs: config.cloudReconnect.longest },
    events,
    logger,
  });
  const nodes = new NodeDirectory({ logger, smConnectionTimeoutMs: config.nodeInfoProvider.smConnectionTimeout });
  const files = parseFileServerUrl(config.fileServerUrl);
  const blobHost = () => advertisedHost(files.host, nodes.nodes().length > 1, server.names);
  const room = new SpaceKeeper(hostDisk, () => images.evictOldest());
  const bundles = new BundleDesk({
    directory: join(config.imageManager.downloadPath, 'bundles'),
    systemId,
    roots,
    updates: () => updates,
    reserve: async (path, bytes) => (await room.reserve(path, bytes)).giveBack,
    clock,
    logger,
  });
  const diary = new DownloadDiary(events);
  const images = await openImages({
    database,
    space: room,
    installPath: config.imageManager.installPath,
    downloadPath: config.imageManager.downloadPath,
    source: bundles.source(
      new CloudBlobSource(
        (request, abort) => link.request(request, abort) as Promise<BlobUrls>,
        clock,
        logger,
        () => link.offersDeltas,
      ),
    ),
    updateItemTtlMs: config.imageManager.updateItemTtl,
    removeOutdatedPeriodMs: config.imageManager.removeOutdatedPeriod,
    trust: () => trustOf(updates.desired ?? NOTHING_DESIRED, roots, clock.now()),
    blobUrlPrefix: () => `http://${blobHost()}:${files.port}`,
    wantsPlatform: ({ architecture }) =>
      config.imageManager.allPlatforms ||
      nodes.nodes().some(({ runtimes }) => runtimes.some(({ arch }) => arch.architecture === architecture)),
    caPem: [ca],
    onDownload: (report) => {
      diary.take(report);
      alerts.add(downloadAlert(report, clock.now()));
    },
    events,
    logger,
  });
  const storage = new StorageState({
    store: new StateStore(database),
    storageDir: config.storageDir,
    stateDir: config.stateDir,
    quota: config.storage.quota,
    send: (message, options) => link.send(message, options),
    onFault: (ident, because) => {
      events.record({
        about: { kind: 'instance', id: instanceName(ident) },
        what: 'keeps its state to itself',
        because,
      });
      const { version = '' } = launcher.statuses().find((one) => instanceKey(one.ident) === instanceKey(ident)) ?? {};
      alerts.add(stateAlert(ident, version, because, clock.now()));
    },
    logger,
  });
  const networks = new NetworkManager({
    store: new NetworkStore(database),
    hostsFile: new HostsFile({ directory: config.dnsStoragePath, pidFile: config.dnsPidFile, logger }),
    dnsIp: config.dnsIp,
    subnets: config.network.pools,
    isWanted: (ident, nodeId) => launcher.isWanted(ident, nodeId),
    logger,
  });
  const controller = new SmController({
    listen: config.cmServerUrl,
    nodes,
    routes: new NetworkService(networks, logger).routes,
    blobUrls: (digests) => Promise.all(digests.map((digest) => images.blobUrl(digest))),
    logger,
  });
  const unitConfig = new UnitConfig({ file: config.unitConfigFile, nodes, links: controller, logger });
  const launcher = new Launcher({
    store: new InstanceStore(database),
    nodes,
    streams: controller,
    items: images,
    config: unitConfig,
    storage,
    reportStateChecksum: config.reportStateChecksum,
    systemIds: readSystemIds,
    isInCharge: () => updates.desired !== undefined,
    nodesConnectionTimeoutMs: config.launcher.nodesConnectionTimeout,
    smConnectionTimeoutMs: config.nodeInfoProvider.smConnectionTimeout,
    instanceTtlMs: config.launcher.instanceTtl,
    checkOverridesMs: config.launcher.checkOverrideEnvVarsPeriod,
    events: {
      record: ({ refused, ...decision }) => {
        events.record(decision);
        if (refused) alerts.add(resourceAlert(refused, decision.because, clock.now()));
      },
    },
    logger,
  });

  // What the cloud is told, and what it asks for.
  const sources = {
    unitConfig: () => unitConfig.status(),
    nodes: () => nodes.nodes(),
    items: () => reportedItems(images.items(), updates.desired?.refusals),
    instances: () => reportedInstances(launcher.statuses(), updates.desired?.refusals),
    subjects: () => iam.subjects(),
  };
  const status = new StatusReporter({
    sources,
    send: (message) => link.send(message, { onAcknowledged: () => status.acknowledged(message) }),
    debounceMs: config.unitStatusSendTimeout,
    logger,
  });
  const alerts = new AlertReports({
    link,
    onAlert: controller.onAlert,
    mainNodeId: () => iam.mainNodeId,
    sendPeriodMs: config.alerts.sendPeriod,
    logger,
  });
  const monitoring = new MonitoringReports({
    link,
    onMonitoring: controller.onMonitoring,
    onNode: (listener) => nodes.subscribe(listener),
    onInstances: (listener) => launcher.subscribe(listener),
    sendPeriodMs: config.monitoring.sendPeriod,
    logger,
  });
  const logs = new LogRequests({
    link,
    nodes: () => nodes.nodes(),
    isConnected: (nodeId) => controller.isConnected(nodeId),
    sendLogRequest: (nodeId, request) => controller.sendLogRequest(nodeId, request),
    onLog: controller.onLog,
    upload: logUploader(ca),
    logger,
  });
  const mainNodeId = () => iam.mainNodeId;
  const renewal = new CertificateRenewal({ iam: orders, link, mainNodeId, logger });
  const provisioning = new NodeProvisioning({ iam: orders, link, mainNodeId, logger });
  const gate = new UpdateGate({ database, rules: config.updates, events, clock, logger });
  const updates = new UpdateManager({
    store: new UpdateStore(database),
    images,
    launcher,
    unitConfig,
    nodes: {
      state: (nodeId) => nodes.node(nodeId)?.state,
      pause: (nodeId, abort) => orders.pauseNode(nodeId, abort),
      resume: (nodeId, abort) => orders.resumeNode(nodeId, abort),
    },
    reports: status,
    gate,
    trust: (desired) => trustOf(desired, roots, clock.now()),
    events,
    logger,
  });
  return {
    bundles,
    link,
    nodes,
    images,
    storage,
    networks,
    controller,
    unitConfig,
    launcher,
    status,
    alerts,
    monitoring,
    logs,
    renewal,
    provisioning,
    gate,
    updates,
    databaseCopy: new DatabaseCopy({ database, path: join(config.workingDir, DATABASE_FILE), logger }),
    /** What the unit is, as it reports it. */
    sources,
  };
}
