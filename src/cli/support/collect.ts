/** What goes into a support bundle (spec/beyond.md P-09): files by name, each without secrets. */
import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { asAosError, isObject } from '../../core/index.ts';
import type { UnitReport } from '../../daemon/index.ts';
import type { Context } from '../context.ts';
import { diagnose } from '../doctor/diagnose.ts';
import { gatherFacts } from '../doctor/gather-facts.ts';
import { redactText, redactValue } from './redact.ts';

const run = promisify(execFile);

const COMMAND_TIMEOUT_MS = 20_000;
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
/** Of each file of a log, its end. */
const MAX_LOG_BYTES = 4 * 1024 * 1024;
const EVENTS = 2000;
/** End of the names of files that say why something is not there. */
export const MISSING = '.missing';

/** What the host says of itself; a program that is missing says that. */
const COMMANDS: Readonly<Record<string, readonly [string, ...string[]]>> = {
  'host/uname.txt': ['uname', '-a'],
  'host/os-release.txt': ['cat', '/etc/os-release'],
  'host/space.txt': ['df', '-h'],
  'host/mounts.txt': ['cat', '/proc/self/mountinfo'],
  'host/memory.txt': ['cat', '/proc/meminfo'],
  'host/processes.txt': ['ps', '-eo', 'pid,ppid,user,stat,lstart,rss,comm'],
  'host/addresses.txt': ['ip', 'address'],
  'host/routes.txt': ['ip', 'route'],
  'host/firewall.txt': ['nft', 'list', 'ruleset'],
  'host/services.txt': ['systemctl', 'status', '--no-pager', '--lines=0', 'aos*'],
  'host/kernel.log': ['dmesg', '--ctime'],
  'logs/journal.log': ['journalctl', '--no-pager', '--quiet', '--lines=20000', '--unit=aos*'],
};

export interface CollectOptions {
  readonly configDir: string;
  /** Files of logs on a node without a journal. */
  readonly logDir?: string | undefined;
}

/** Never throws for a part: what cannot be had is a file that says why. */
export async function collect(context: Context, { configDir, logDir }: CollectOptions): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const configs = await readDirectory(configDir, /\.(cfg|json)$/);
  const secrets = await secretsOf(configs);
  const add = async (name: string, read: () => Promise<unknown>) => {
    try {
      const value = await read();
      const isText = typeof value === 'string';
      files.set(
        name,
        isText ? redactText(value, secrets) : `${JSON.stringify(redactValue(value, secrets), null, 2)}\n`,
      );
    } catch (error) {
      files.set(`${name}${MISSING}`, `${redactText(asAosError(error).message, secrets)}\n`);
    }
  };
  await Promise.all([
    add('doctor.json', async () => diagnose(await gatherFacts(context, configDir))),
    add('cm/status.json', () => context.askLocal('/status')),
    add('cm/events.json', () => context.askLocal('/events', { limit: EVENTS })),
    add('cm/networks.json', () => context.askLocal('/networks')),
    add('cm/why.json', () => reasons(context)),
    add('sm/status.json', () => context.askDaemon('sm', '/status')),
    add('sm/instances.json', () => context.askDaemon('sm', '/instances')),
    add('sm/usage.json', () => context.askDaemon('sm', '/usage')),
    add('iam/status.json', () => context.askDaemon('iam', '/status')),
    ...configs.map(([name, text]) => add(`config/${name}`, async () => asValue(text))),
    ...Object.entries(COMMANDS).map(([name, [program, ...words]]) =>
      add(name, async () => {
        const options = { timeout: COMMAND_TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES };
        // The state of services has an exit code of its own; what was printed counts.
        const { stdout } = await run(program, words, options).catch((error: { stdout?: string }) => {
          if (error.stdout) return { stdout: error.stdout };
          throw error;
        });
        return stdout;
      }),
    ),
    ...(logDir === undefined
      ? []
      : (await readDirectory(logDir, /\.log/)).map(([name, text]) =>
          add(`logs/${name}`, async () => text.slice(-MAX_LOG_BYTES)),
        )),
  ]);
  files.set('README.txt', `State of an aoscore node on kernel ${release()}, made by aosctl support-bundle.\n`);
  return files;
}

/** Why each instance that does not run does not. */
async function reasons(context: Context): Promise<unknown> {
  const { instances } = await context.askLocal<UnitReport>('/status');
  const names = instances
    .filter(({ state }) => state !== 'active')
    .map(({ itemId, subjectId, instance }) => `${itemId}/${subjectId}/${instance}`);
  return Promise.all(names.map((name) => context.askLocal('/why', { name })));
}

async function readDirectory(directory: string, pattern: RegExp): Promise<[string, string][]> {
  try {
    const names = (await readdir(directory)).filter((name) => pattern.test(name));
    return await Promise.all(
      names.map(async (name): Promise<[string, string]> => [name, await readFile(join(directory, name), 'utf8')]),
    );
  } catch (error) {
    return [['unreadable.txt', `${asAosError(error).message}\n`]];
  }
}

const asValue = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // A broken configuration is worth seeing as it is; it is redacted as text.
    return text;
  }
};

/** PINs in the files that the configurations name: wherever they turn up, they go. */
async function secretsOf(configs: readonly (readonly [string, string])[]): Promise<string[]> {
  const paths = configs.flatMap(([, text]) => pinPathsIn(asValue(text)));
  const pins = await Promise.all(
    [...new Set(paths)].map((path) =>
      readFile(path, 'utf8').then(
        (text) => text.trim(),
        // Not ours to read, so it cannot be in what we read either.
        () => '',
      ),
    ),
  );
  return pins.filter(Boolean);
}

function pinPathsIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(pinPathsIn);
  if (!isObject(value)) return [];
  return Object.entries(value).flatMap(([key, entry]) =>
    /pinPath$/i.test(key) && typeof entry === 'string' ? [entry] : pinPathsIn(entry),
  );
}
