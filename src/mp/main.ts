/** aos-mp: carries the traffic of a node that has no network to the main node (spec/mp.md). */
import { systemClock } from '../core/index.ts';
import { type DaemonOptions, type Life, loadConfig, MetricsServer, runDaemon } from '../daemon/index.ts';
import { CHECKS } from './checks.ts';
import { checkConfig, MpConfig } from './config.ts';
import { linkMetrics } from './metrics.ts';
import { openProxy } from './open-proxy.ts';

const VERSION = '0.1.0';

async function run(life: Life, options: DaemonOptions): Promise<void> {
  const { value: config, warnings } = await loadConfig(MpConfig, options.configPath);
  for (const warning of warnings) life.logger.warn({ config: options.configPath }, warning);
  checkConfig(config, options.provisioning);
  const open = config.mode === 'peer' ? (await import('./open-peer.ts')).openPeer : openProxy;
  const link = await open(config, options.provisioning, systemClock, life);
  const metrics = await MetricsServer.open({
    ...{ listen: config.metrics.listen, program: 'aos-mp', version: VERSION },
    collect: () => linkMetrics(link.report),
    logger: life.logger,
  });
  if (metrics) life.use('metrics', metrics);
}

void runDaemon({
  name: 'aos-mp',
  version: VERSION,
  defaultConfigPath: 'aos_message_proxy.cfg',
  hasProvisioningMode: true,
  checks: CHECKS,
  run,
});
