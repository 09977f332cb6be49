/** aos-sm: images, instances, resources and networks of one node (spec/sm.md). */
import { readFile } from 'node:fs/promises';
import { asAosError, systemClock } from '../core/index.ts';
import {
  ControlServer,
  checkHandlers,
  type DaemonOptions,
  IamCredentials,
  type Life,
  loadConfig,
  MetricsServer,
  runDaemon,
} from '../daemon/index.ts';
import { HostJournal } from '../platform/journal/index.ts';
import { HelperShell } from '../platform/program/index.ts';
import { systemDiskQuota } from '../platform/quota/index.ts';
import { AlertGate, damageAlert, InstanceAlerts, JournalAlerts, parseFilters, ResourceAlerts } from './alerts/index.ts';
import { CHECKS } from './checks.ts';
import { CloudPresence, CmLink, CmServices, IamPermissions, waitForNodeInfo } from './client/index.ts';
import { SmConfig } from './config.ts';
import { execution } from './execution.ts';
import { ImageStore } from './images/index.ts';
import { InstanceRows, Launcher } from './launcher/index.ts';
import { hasJournal, JournalLogs, LogFiles, LogProvider, localLogs } from './logs/index.ts';
import { nodeMetrics } from './metrics.ts';
import { HostUsage, Monitoring, UsageReader } from './monitoring/index.ts';
import { NodeConfigKeeper } from './node-config/index.ts';
import { nodeHandlers } from './node-handlers.ts';
import { STOP_TIMEOUT_MS } from './numbers.ts';
import { openNetworks } from './open-networks.ts';
import { openRuntimes } from './open-runtimes.ts';
import { nodeReport, readAlertQuery, usageReport } from './report.ts';
import { loadNodeResources } from './resources/index.ts';
import { cgroupPathOf } from './runtime/index.ts';
import { currentUnitJob, rebootNode, shouldStopInstances } from './stop-policy.ts';
import { openStore } from './store.ts';

const VERSION = '0.1.0';

async function run(life: Life, options: DaemonOptions): Promise<void> {
  const { logger, signal } = life;
  const clock = systemClock;
  const { value: config, warnings } = await loadConfig(SmConfig, options.configPath);
  for (const warning of warnings) logger.warn({ config: options.configPath }, warning);
  const { certStorage, cmServerUrl } = config;
  const { checkHostName } = config.tls;
  const ca = await readFile(config.caCert, 'utf8').catch((error) => {
    throw asAosError(error, `cannot read "caCert" ${config.caCert}`);
  });

  const database = await openStore(config.workingDir, logger);
  life.use('database', { stop: () => database.close() });
  // Outlives the other parts: permissions are withdrawn while instances stop.
  const credentialsEnd = new AbortController();
  life.use('credentials', { stop: () => credentialsEnd.abort() });
  const credentials = new IamCredentials({
    publicAddress: config.iamPublicServerUrl,
    caFile: config.caCert,
    checkHostName,
    logger,
    signal: credentialsEnd.signal,
    onStaleToken: (reason) => life.startOver(reason),
  });
  const iam = { address: config.iamProtectedServerUrl, ca, checkHostName };
  const permissions = life.use('permissions', new IamPermissions({ ...iam, credentials, certStorage }));
  const publicIam = { channel: credentials.channel, address: config.iamPublicServerUrl };
  const node = await waitForNodeInfo(publicIam, { clock, logger, signal });

  const resources = await loadNodeResources(config.resourcesConfigFile, logger);
  const nodeConfig = await NodeConfigKeeper.open(config.nodeConfigFile, logger);
  const services = new CmServices({ nodeId: node.nodeId, channel: (boundMs, own) => link.channel(boundMs, own) });
  const programs = new HelperShell({ shell: '/bin/sh', name: 'host' });
  life.use('programs', { stop: () => programs.close() });
  const images = life.use(
    'images',
    await ImageStore.open({
      imagePath: config.imageManager.imagePath,
      database,
      blobUrls: (digests, own) => services.blobUrls(digests, own),
      cmHost: cmServerUrl.slice(0, cmServerUrl.lastIndexOf(':')),
      inUse: () => launcher.itemsInUse(),
      itemTtlMs: config.imageManager.updateItemTtl,
      cleanUpPeriodMs: config.imageManager.removeOutdatedPeriod,
      partLimitPercent: config.imageManager.imagesPartLimit,
      onDamage: (damaged, because) => gate.send(damageAlert(damaged, because, clock.now())),
      programs,
      logger,
    }),
  );
  const host = { config, database, resources, programs, logger };
  const runtimes = life.use('runtimes', await openRuntimes({ ...host, node }));
  const nodeNetworks = await openNetworks({ ...host, cm: services, clock });
  const rows = new InstanceRows(database);
  const launcher = new Launcher({
    rows,
    runtimes: runtimes.launched,
    images,
    networks: nodeNetworks.networks,
    permissions,
    clock,
    logger,
    reboot: () => rebootNode(config.rebootCommand),
    onStartFailed: (ident, error) => resourceAlerts.take(ident, error),
    onGone: (ident) => {
      alerts.forget(ident);
      resourceAlerts.forget(ident);
    },
  });
  const gate = life.use('alerts', new AlertGate({ clock, send: (message) => link.report(message) }));
  const alerts = new InstanceAlerts({
    clock,
    versionOf: (ident) => launcher.board.get(ident)?.status.version ?? '',
    send: (message) => gate.send(message),
  });
  for (const runtime of runtimes.all) runtime.onChange((change) => alerts.take(change));
  const resourceAlerts = new ResourceAlerts({ clock, send: (message) => gate.send(message) });
  const journalAlerts = new JournalAlerts({
    journal: new HostJournal(),
    cursor: rows.value<string>('journal cursor'),
    filter: parseFilters(config.journalAlerts.filter),
    serviceAlertPriority: config.journalAlerts.serviceAlertPriority,
    systemAlertPriority: config.journalAlerts.systemAlertPriority,
    isInstance: ({ fields }) => runtimes.wrote(fields),
    send: (message) => gate.send(message),
    clock,
    logger,
  });
  const cloud = new CloudPresence({
    clock,
    stored: rows.value<number>('offline since'),
    onOffline: (sinceMs) => launcher.offline(sinceMs),
    onOnline: () => launcher.online(),
    logger,
  });
  const usage = new UsageReader({
    node,
    usage: new HostUsage({ cgroups: runtimes.cgroups, quota: systemDiskQuota, clock, logger }),
    traffic: nodeNetworks.traffic,
    cgroupPath: cgroupPathOf,
    dataPaths: (info) => runtimes.dataPaths(info),
    clock,
    logger,
  });
  const monitoring = new Monitoring({
    reader: usage,
    running: () => launcher.running(),
    send: (message) => link.sendIfConnected(message),
    alert: (message) => gate.send(message),
    ...{ pollPeriodMs: config.monitoring.pollPeriod, averageWindowMs: config.monitoring.averageWindow },
    clock,
    logger,
  });
  monitoring.setNodeRules(nodeConfig.config?.alertRules);
  nodeConfig.onChange(({ alertRules }) => monitoring.setNodeRules(alertRules));
  const logged = {
    instances: () => runtimes.logged(),
    source: hasJournal()
      ? new JournalLogs(new HostJournal(), cgroupPathOf, signal)
      : new LogFiles((id) => runtimes.logFiles(id)),
  };
  const logs = new LogProvider({
    ...config.logging,
    ...logged,
    send: (message) => link.report(message),
    logger,
  });
  const handlers = nodeHandlers({
    launcher,
    nodeConfig,
    cloud,
    monitoring,
    logs,
    logger,
    onIntroduced: () => {
      launcher.retryRemovals();
      nodeNetworks.onConnected();
    },
  });
  const link = new CmLink({
    address: cmServerUrl,
    ca,
    checkHostName,
    certStorage,
    reconnectMs: config.cmReconnectTimeout,
    credentials,
    node: { nodeId: node.nodeId, runtimes: runtimes.infos(), resources: resources.infos() },
    handlers,
    clock,
    logger,
  });
  launcher.board.onChange(({ status }) => link.sendStatus(status));
  link.onState((state) => {
    if (state === 'waiting') cloud.lostCm();
  });

  life.use('launcher', {
    stop: async () => {
      const stopInstances = shouldStopInstances({ policy: config.stopInstances, job: await currentUnitJob() });
      const bound = AbortSignal.timeout(STOP_TIMEOUT_MS);
      await launcher.stop(stopInstances, bound);
      if (stopInstances) await nodeNetworks.withdraw(bound);
    },
  });
  launcher.start();
  life.use('presence of the cloud', cloud);
  cloud.start();
  life.use(
    'control socket',
    await ControlServer.open(config.controlSocket, {
      ...checkHandlers(CHECKS),
      '/status': () =>
        nodeReport({
          node,
          link,
          cloud,
          nodeConfig,
          runtimes: runtimes.infos(),
          firmware: runtimes.firmwareReports(),
          launcher,
        }),
      '/instances': () => runtimes.instances(),
      '/exec': (body) => execution(runtimes, body),
      '/logs': (body, own) => localLogs(logged, body, own),
      '/alerts': (body) => gate.newest(readAlertQuery(body)),
      '/usage': async () => usageReport(await usage.read(launcher.running()), node, runtimes.instances()),
    }),
  );
  const metrics = await MetricsServer.open({
    ...{ listen: config.metrics.listen, program: 'aos-sm', version: VERSION, logger },
    collect: async () =>
      nodeMetrics({
        node,
        reading: await usage.read(launcher.running()),
        instances: runtimes.instances(),
        cmConnected: link.state === 'connected',
        alerts: gate.counts,
      }),
  });
  if (metrics) life.use('metrics', metrics);
  // What no instance waits for comes when the node can be asked.
  images.startCleanUp();
  for (const [name, part] of Object.entries({
    monitoring,
    logs,
    link,
    networks: nodeNetworks,
    ...(hasJournal() && { journalAlerts }),
  })) {
    life.use(name, part);
    part.start();
  }
}

void runDaemon({
  name: 'aos-sm',
  version: VERSION,
  defaultConfigPath: 'aos_servicemanager.cfg',
  stopTimeoutMs: STOP_TIMEOUT_MS,
  checks: CHECKS,
  run,
});
