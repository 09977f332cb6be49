/** `aos-cloud backup <file>` and `aos-cloud restore <file>`: instead of running the cloud. */
import { Command } from 'commander';
import { AosError, asAosError, silentLogger } from '../../core/index.ts';
import { loadConfig } from '../../daemon/index.ts';
import { openBlobFiles } from '../blobs/open-blob-files.ts';
import { CloudConfig } from '../config.ts';
import { type BackupSummary, backUp } from './back-up.ts';
import { restoreBackup } from './restore.ts';

const SUMMARIES = {
  backup: 'writes keys, database and blobs to one file, while the cloud runs',
  restore: 'puts a backup into the working directory, which must be empty',
} as const;

/** Answers false when the command line asks for neither; then nothing was done. */
export async function runBackupCommand(argv: readonly string[], defaultConfigPath: string): Promise<boolean> {
  const name = argv[2];
  if (name !== 'backup' && name !== 'restore') return false;
  const command = new Command(`aos-cloud ${name}`)
    .description(SUMMARIES[name])
    .argument('<file>')
    .option('-c, --config <file>', 'configuration file', defaultConfigPath)
    .parse([...argv.slice(0, 2), ...argv.slice(3)]);
  try {
    const { value } = await loadConfig(CloudConfig, command.opts<{ config: string }>().config);
    const file = command.args[0]!;
    if (value.database !== undefined) throw notHere(name);
    const { files, bytes } = await (name === 'backup' ? backUpAll(value, file) : restoreBackup(file, value.workingDir));
    process.stdout.write(`${name} of ${value.workingDir}: ${files} files, ${bytes} bytes\n`);
  } catch (error) {
    process.stderr.write(`aos-cloud: ${asAosError(error).message}\n`);
    process.exitCode = 1;
  }
  return true;
}

/** A file of one moment cannot be made where the database is another program's. */
function notHere(name: 'backup' | 'restore'): AosError {
  const words = {
    backup: 'back it up with "pg_dump", and then the directory "pki" and the blobs (docs/cloud.md)',
    restore: 'restore it with "pg_restore", and the directory "pki" and the blobs with it (docs/cloud.md)',
  };
  return new AosError('notSupported', `the database of this cloud is in PostgreSQL: ${words[name]}`);
}

async function backUpAll(config: CloudConfig, target: string): Promise<BackupSummary> {
  const blobs = await openBlobFiles(config, silentLogger);
  try {
    return await backUp(config.workingDir, blobs, target);
  } finally {
    blobs.stop();
  }
}
