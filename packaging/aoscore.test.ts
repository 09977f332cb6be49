import { execFileSync, spawnSync } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

let directory: string;

/** Stands for every program: says how it was started. */
const PROGRAM =
  'const { argv, execArgv, env } = process; console.log(JSON.stringify({ script: argv[1], args: argv.slice(2), node: execArgv, engines: env.OPENSSL_ENGINES, library: env.PKCS11_MODULE_PATH, arenas: env.MALLOC_ARENA_MAX }));';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-packaging-'));
  await mkdir(join(directory, 'lib'));
  for (const name of ['aos-cm', 'aosctl']) await writeFile(join(directory, 'lib', `${name}.mjs`), PROGRAM);
  for (const name of ['node-flags.txt', 'daemon.env']) {
    await copyFile(join(import.meta.dirname, name), join(directory, 'lib', name));
  }
});

afterEach(() => rm(directory, { recursive: true }));

async function start(name: string, ...args: string[]) {
  await symlink(join(import.meta.dirname, 'bin', 'aoscore'), join(directory, name));
  const env = {
    ...process.env,
    AOS_NODE: process.execPath,
    AOS_LIB_DIR: join(directory, 'lib'),
    PKCS11_MODULE_PATH: '/usr/lib/token.so',
  };
  return JSON.parse(execFileSync(join(directory, name), args, { env, encoding: 'utf8' })) as Record<string, string[]>;
}

test('a daemon is started under its own name, with the options of Node.js and the keys of the token', async () => {
  const { script, args, node, engines, library, arenas } = await start(
    'aos-cm',
    '-c',
    '/etc/aos/cm.cfg',
    '-v',
    'debug',
  );
  expect(script).toBe(join(directory, 'lib', 'aos-cm.mjs'));
  expect(args).toEqual(['-c', '/etc/aos/cm.cfg', '-v', 'debug']);
  expect(node).toContain('--max-semi-space-size=2');
  expect(engines).toMatch(/\/engines-3$/);
  expect(library).toBe('/usr/lib/token.so');
  expect(arenas).toBe('1');
});

test('the names that units know from the C++ implementation start the same programs', async () => {
  expect((await start('aos_cm_app', '-j')).script).toBe(join(directory, 'lib', 'aos-cm.mjs'));
});

test('the command line is started without the options of daemons', async () => {
  expect((await start('aosctl', 'status')).node).toEqual([]);
});

test('a program that is not installed is named, with the setting that tells where programs are', () => {
  const run = spawnSync(join(import.meta.dirname, 'bin', 'aoscore'), { encoding: 'utf8' });
  expect(run.status).toBe(1);
  expect(run.stderr).toMatch(/aoscore\.mjs does not exist; set AOS_LIB_DIR/);
});
