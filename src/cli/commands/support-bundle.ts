import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';
import type { Command } from 'commander';
import { asAosError } from '../../core/index.ts';
import { CONFIG_DIR_HELP, type Context } from '../context.ts';
import { printResult } from '../output.ts';
import { type CollectOptions, collect, MISSING } from '../support/collect.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

const execute = promisify(execFile);

interface BundleOptions extends Partial<CollectOptions> {
  readonly output?: string;
}

export function supportBundleCommand(program: Command, run: Run): void {
  program
    .command('support-bundle')
    .description('one archive for whoever helps: state, events, reasons, logs, configuration of this node; no secrets')
    .option('-o, --output <file>', 'where it goes; default: aos-<host>-<time>.tar.gz here')
    .option('--config-dir <directory>', CONFIG_DIR_HELP)
    .option('--log-dir <directory>', 'files of logs, on a node without a journal')
    .action((options: BundleOptions) => run((context) => supportBundle(context, options)));
}

async function supportBundle(context: Context, { output, ...options }: BundleOptions): Promise<void> {
  context.mustBeHere();
  const name = `aos-${hostname()}-${new Date().toISOString().replace(/[:.]/g, '-')}`;
  const archive = resolve(output ?? `${name}.tar.gz`);
  const directory = await mkdtemp(join(tmpdir(), 'aosctl-'));
  try {
    const { configDir = context.configDir, logDir = context.logDir } = options;
    const files = await collect(context, { configDir, logDir });
    for (const [path, text] of files) {
      const target = join(directory, name, path);
      await mkdir(dirname(target), { recursive: true, mode: 0o700 });
      await writeFile(target, text, { mode: 0o600 });
    }
    await execute('tar', ['-czf', archive, '-C', directory, name]).catch((error: { readonly stderr?: string }) => {
      // The first line tells what is wrong, those after it what became of tar.
      throw asAosError(error.stderr?.split('\n')[0] || error, `cannot write ${archive}`);
    });
    const missing = [...files.keys()].filter((path) => path.endsWith(MISSING));
    printResult(context.output, { archive, files: [...files.keys()].sort() }, [archive]);
    if (missing.length > 0)
      context.output.note(
        `not to be had: ${missing.map((path) => path.slice(0, -MISSING.length)).join(', ')}; the archive says why`,
      );
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
