/** aos-cm: cloud link, desired state, images, scheduling, networks, states, reports of one unit (spec/cm.md). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asAosError, systemClock } from '../core/index.ts';
import {
  ControlServer,
  checkHandlers,
  type DaemonOptions,
  type Life,
  loadConfig,
  MetricsServer,
  runDaemon,
} from '../daemon/index.ts';
import { CHECKS } from './checks.ts';
import { CmConfig } from './config.ts';
import { connectModules } from './connect-modules.ts';
import { ControlDesk } from './control/index.ts';
import { EventLog } from './events/index.ts';
import { type Identity, learnIdentity } from './identity.ts';
import { BlobServer, parseFileServerUrl } from './images/index.ts';
import { unitMetrics } from './metrics.ts';
import { type Modules, makeModules } from './modules.ts';
import { DATABASE_FILE, openCmStore } from './store.ts';
import { UpdateScheduler } from './update-scheduler.ts';

const VERSION = '0.1.0';

async function run(life: Life, options: DaemonOptions): Promise<void> {
  const { value: config, warnings } = await loadConfig(CmConfig, options.configPath);
  for (const warning of warnings) life.logger.warn({ config: options.configPath }, warning);
  let tellWaiting: () => void = () => undefined;
  const waiting = new Promise<void>((resolve) => {
    tellWaiting = resolve;
  });
  const up = bringUp(life, config, tellWaiting);
  // Ready when everything runs, or when nothing but IAM is missing (spec/decisions.md CM-05).
  await Promise.race([up, waiting]);
  up.catch((error) => {
    if (!life.signal.aborted) process.emit('uncaughtException', asAosError(error));
  });
}

async function bringUp(life: Life, config: CmConfig, onWaiting: () => void): Promise<void> {
  const { logger } = life;
  const ca = await readFile(config.caCert, 'utf8').catch((error) => {
    throw asAosError(error, `cannot read "caCert" ${config.caCert}`);
  });
  const database = await openCmStore(config.workingDir, logger);
  life.use('database', { stop: () => database.close() });
  const events = life.use('events', new EventLog({ database, clock: systemClock, logger }));
  const desk = new ControlDesk(events, systemClock);
  life.use('control', await ControlServer.open(config.controlSocket, { ...desk.handlers(), ...checkHandlers(CHECKS) }));

  const identity = await learnIdentity(life, config, ca, (because) => {
    desk.waitFor(because);
    onWaiting();
  });
  const modules = await makeModules({ config, ca, database, events, logger }, identity);
  connectModules(modules, identity.iam, events);
  await start(life, config, identity, modules);
  desk.open({ ...identity.iam.system, ...modules });
  const metrics = await MetricsServer.open({
    ...{ listen: config.metrics.listen, program: 'aos-cm', version: VERSION, logger },
    collect: () => unitMetrics({ report: desk.status(), alerts: modules.alerts.counts }),
  });
  if (metrics) life.use('metrics', metrics);
}

/** In this order; stopped in reverse. The server opens when there is a state to answer from, the link last. */
async function start(life: Life, config: CmConfig, { iam, orders, server }: Identity, modules: Modules): Promise<void> {
  const { logger } = life;
  const { nodes, storage, images, launcher, networks, controller } = modules;
  life.use('nodes', nodes);
  const { isKnown, blobPath } = images.server();
  const files = parseFileServerUrl(config.fileServerUrl);
  life.use('blob-server', await BlobServer.open({ ...files, isKnown, blobPath, logger }));
  await life.use('storage-state', storage).start();
  life.use('alerts', modules.alerts).start();
  await life.use('unit-config', modules.unitConfig).start();
  for (const node of iam.nodes()) nodes.updateFromIam(node);
  life.use('monitoring', modules.monitoring).start();
  life.use('images', images).start();
  launcher.setSubjects(iam.subjects());
  await life.use('launcher', launcher).start();
  await networks.start();
  await life.use('sm-controller', controller).start(server.tls);
  const scheduler = life.use('update-scheduler', new UpdateScheduler(config.updateSchedulerServerUrl, modules, logger));
  await scheduler.start(server.tls);
  server.watch((tls) => {
    controller.replaceTls(tls);
    scheduler.replaceTls(tls);
    orders.renew();
  });
  life.use('logs', modules.logs).start();
  life.use('renewal', modules.renewal).start();
  life.use('provisioning', modules.provisioning).start();
  life.use('status', modules.status);
  life.use('updates', modules.updates).start();
  await modules.bundles.start();
  // Ids, addresses and checksums are handed out by updates: the copy knows them once they are in use, and after the end.
  const copy = life.use('database-copy', modules.databaseCopy);
  modules.updates.watch(({ state }) => {
    if (state === 'activating' || state === 'none') copy.refresh();
  });
  life.use('link', modules.link).start();
}

/** `--reset` deletes nothing by itself (spec/decisions.md CM-04). */
async function describeReset({ configPath }: DaemonOptions): Promise<string> {
  const { value: config } = await loadConfig(CmConfig, configPath);
  const { workingDir, imageManager, storageDir, stateDir, unitConfigFile } = config;
  const paths = [join(workingDir, DATABASE_FILE), imageManager.installPath, imageManager.downloadPath];
  return [
    'nothing was deleted; stop the services of this node and delete by hand what shall go:',
    ...[...paths, unitConfigFile].map((path) => `  ${path}`),
    'data of the instances, which cannot be fetched again:',
    ...[storageDir, stateDir].map((path) => `  ${path}`),
  ].join('\n');
}

void runDaemon({
  name: 'aos-cm',
  version: VERSION,
  defaultConfigPath: 'aos_cm.cfg',
  run,
  describeReset,
  checks: CHECKS,
});
