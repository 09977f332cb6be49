/** aos-cloud: a self-hosted cloud for development, tests and small fleets. */
import { loadConfig, readText, runDaemon } from '../daemon/index.ts';
import { loadedLibc } from '../platform/libc/index.ts';
import { runBackupCommand } from './backup/backup-command.ts';
import { startCloud } from './cloud.ts';
import { CloudConfig } from './config.ts';
import { memoryGiver } from './give-back-memory.ts';

const DEFAULT_CONFIG_PATH = '/etc/aos/cloud.cfg';

async function main(): Promise<void> {
  if (await runBackupCommand(process.argv, DEFAULT_CONFIG_PATH)) return;
  await runDaemon({
    name: 'aos-cloud',
    version: '0.1.0',
    defaultConfigPath: DEFAULT_CONFIG_PATH,
    giveBackMemory: memoryGiver(loadedLibc),
    checks: { config: (text, path) => readText(CloudConfig, text, path).warnings },
    run: async (life, options) => {
      const { value: config, warnings } = await loadConfig(CloudConfig, options.configPath);
      for (const warning of warnings) life.logger.warn({}, warning);
      const endpoints = await startCloud(config, (name, part) => life.use(name, part), life.logger);
      life.logger.info(endpoints, 'the cloud listens');
    },
  });
}

void main();
