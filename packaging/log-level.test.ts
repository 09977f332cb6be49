/** How much the daemons tell is a setting of the host: /etc/default/aoscore, read by systemd, given to each daemon. */
import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const UNITS = join(import.meta.dirname, 'systemd');
const DEFAULTS = join(import.meta.dirname, 'etc', 'default', 'aoscore');
const LIFE = join(import.meta.dirname, '..', 'src', 'daemon', 'life.ts');

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-log-level-'));
});
afterEach(() => rm(directory, { recursive: true }));

/** Variables of an environment file. */
function parseEnvironment(text: string): Map<string, string> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => line.split('=', 2) as [string, string]));
}

/** Words after the program of `ExecStart`, with variables as systemd puts them in. */
function startWords(unit: string, environment: ReadonlyMap<string, string>): string[] {
  const [, command = ''] = /^ExecStart=(.*)$/m.exec(unit) ?? [];
  const replaced = command.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => environment.get(name) ?? '');
  return replaced.split(' ').slice(1);
}

/** Runs a daemon that has something to say at each level; answers its sentences. */
async function sentences(words: readonly string[]): Promise<string[]> {
  const program = join(directory, 'daemon.ts');
  await writeFile(
    program,
    `import { runDaemon } from ${JSON.stringify(LIFE)};
     await runDaemon({ name: 'aos-x', version: '1', defaultConfigPath: 'x.cfg', hasProvisioningMode: true, checks: {}, run: async ({ logger }) => {
       for (const level of ['error', 'warn', 'info', 'debug', 'trace']) logger[level]({}, level);
     } });`,
  );
  const output = execFileSync(process.execPath, [program, ...words], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
  });
  const told = output.split('\n').filter(Boolean);
  return told.map((line) => (JSON.parse(line.replace(/^<\d>/, '')) as { msg: string }).msg);
}

test('[O-05] [X-06] the level in /etc/default/aoscore reaches every daemon', async () => {
  const defaults = await readFile(DEFAULTS, 'utf8');
  expect(parseEnvironment(defaults).get('AOS_LOG_LEVEL')).toBe('info');
  const environment = parseEnvironment(defaults.replace('AOS_LOG_LEVEL=info', 'AOS_LOG_LEVEL=debug'));
  const names = (await readdir(UNITS)).filter((name) => name.endsWith('.service'));
  const daemons: string[] = [];
  for (const name of names) {
    const unit = await readFile(join(UNITS, name), 'utf8');
    if (!/^ExecStart=\/usr\/bin\/aos-/m.test(unit)) continue;
    daemons.push(name);
    expect(unit).toMatch(/^EnvironmentFile=-\/etc\/default\/aoscore$/m);
    const words = startWords(unit, environment);
    expect(words[words.indexOf('-v') + 1]).toBe('debug');
  }
  expect(daemons).toEqual(expect.arrayContaining(['aos-cm.service', 'aos-iam.service', 'aos-sm.service']));
});

test.each([
  ['error', ['error']],
  ['warning', ['error', 'warn']],
  ['info', ['error', 'warn', 'info']],
  ['debug', ['error', 'warn', 'info', 'debug']],
  ['trace', ['error', 'warn', 'info', 'debug', 'trace']],
])('[O-05] at the level %s a daemon started by its unit tells so much', async (level, expected) => {
  const unit = await readFile(join(UNITS, 'aos-sm.service'), 'utf8');
  const told = await sentences(startWords(unit, new Map([['AOS_LOG_LEVEL', level]])));
  expect(told.filter((text) => ['error', 'warn', 'info', 'debug', 'trace'].includes(text))).toEqual(expected);
});
