/** aos-iam: identity, keys and certificates, nodes, permissions (spec/iam.md). */
import { AosError, systemClock } from '../core/index.ts';
import {
  ControlServer,
  checkHandlers,
  type DaemonOptions,
  type Life,
  loadConfig,
  MetricsServer,
  runDaemon,
} from '../daemon/index.ts';
import type { CertificateHandler } from './certificates/certificate-handler.ts';
import { openCertificates } from './certificates/open-certificates.ts';
import { TokenWatch } from './certificates/token-watch.ts';
import { CHECKS } from './checks.ts';
import { checkConfig, IamConfig, isMainNode } from './config/iam-config.ts';
import { makeIdentifier } from './identity/open-identifier.ts';
import { TOKEN_WATCH_MS } from './limits.ts';
import { iamMetrics } from './metrics.ts';
import { collectNodeInfo } from './node/collect-node-info.ts';
import { LocalNode } from './node/local-node.ts';
import { ProvisioningMark } from './node/provisioning-mark.ts';
import { NodeLinks } from './nodes/node-links.ts';
import { NodeRegistry } from './nodes/node-registry.ts';
import { openMainLink, openStore, readRoots } from './open-iam.ts';
import { PermissionHandler } from './permissions/permission-handler.ts';
import { IamServers } from './servers/iam-servers.ts';
import { type MainNodeParts, Services } from './servers/services.ts';
import { iamStatus } from './servers/status.ts';

const VERSION = '0.1.0';

async function run(life: Life, options: DaemonOptions): Promise<void> {
  const { logger, signal } = life;
  const { provisioning } = options;
  const clock = systemClock;
  const { value: config, warnings } = await loadConfig(IamConfig, options.configPath);
  for (const warning of warnings) logger.warn({ config: options.configPath }, warning);
  checkConfig(config);

  const store = await openStore(config, life);
  const description = await collectNodeInfo(config.nodeInfo, logger);
  const identifier = await makeIdentifier(config.identifier, logger);
  if (identifier) {
    life.use('identifier', identifier);
    await identifier.start();
  }
  const roots = await readRoots(config, !provisioning, logger);
  const certificates = await openCertificates({ config, store, roots, provisioned: !provisioning, clock }, life);
  const watch = provisioning ? undefined : life.use('token watch', watchTokens(certificates, life));
  const node = await LocalNode.open({
    description,
    statePath: config.nodeInfo.provisioningStatePath,
    hooks: config,
    mark: new ProvisioningMark(config.workingDir),
    certificates,
    ...(identifier ? { systemId: async () => (await identifier.systemInfo()).systemId } : {}),
    // The answer leaves first.
    onKeyFailure: () => setImmediate(() => watch?.look()),
    logger,
    signal,
  });
  const permissions = config.enablePermissionsHandler
    ? life.use('permissions', await PermissionHandler.open(config.runtimeDir, logger))
    : undefined;

  let main: MainNodeParts | undefined;
  if (identifier && isMainNode(description.attrs)) {
    await identifier.systemInfo();
    const registry = life.use('list of nodes', new NodeRegistry(store, clock, logger));
    registry.set(node.info, true);
    main = { identifier, registry, links: new NodeLinks({ ownNodeId: node.id, registry, clock, logger }) };
  }

  const services = new Services({ node, certificates, permissions, main });
  life.use(
    'servers',
    await IamServers.open({
      publicListen: config.iamPublicServerURL,
      protectedListen: config.iamProtectedServerURL,
      services,
      logger,
      ...(provisioning
        ? {}
        : {
            tls: {
              ...{ ca: roots!, certStorage: config.certStorage, certificates, authorization: config.authorization },
              onStaleToken: (reason) => life.startOver(reason),
            },
          }),
    }),
  );
  const link = openMainLink(config, provisioning, node, certificates, roots, clock, life);
  const status = () => iamStatus(provisioning ? 'provisioning' : 'normal', services.parts, link?.state);
  const metrics = await MetricsServer.open({
    ...{ listen: config.metrics?.listen, program: 'aos-iam', version: VERSION, logger },
    collect: () => iamMetrics(status()),
  });
  if (metrics) life.use('metrics', metrics);
  if (config.controlSocket !== undefined) {
    life.use(
      'control socket',
      await ControlServer.open(config.controlSocket, {
        ...checkHandlers(CHECKS),
        '/status': status,
        '/forget-node': (body) => forgetNode(main, node.id, body),
      }),
    );
  }
}

/** Not on a blank node: its tokens are wiped and owned while it runs. */
function watchTokens(certificates: CertificateHandler, life: Life): TokenWatch {
  return new TokenWatch({
    intervalMs: TOKEN_WATCH_MS,
    check: () => certificates.checkTokens(),
    onLost: (reason) => life.startOver(reason),
    logger: life.logger,
  });
}

function forgetNode(main: MainNodeParts | undefined, ownNodeId: string, body: unknown): void {
  const nodeId = (body as { nodeId?: unknown } | undefined)?.nodeId;
  if (!main) throw new AosError('notSupported', 'only the main node keeps a list of nodes');
  if (typeof nodeId !== 'string') throw new AosError('invalidArgument', 'expected {"nodeId": "…"}');
  if (nodeId === ownNodeId) throw new AosError('invalidArgument', 'the main node cannot forget itself');
  main.registry.forget(nodeId);
}

void runDaemon({
  name: 'aos-iam',
  version: VERSION,
  defaultConfigPath: 'aos_iamanager.cfg',
  hasProvisioningMode: true,
  checks: CHECKS,
  run,
});
