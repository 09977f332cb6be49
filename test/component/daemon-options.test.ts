/** What every daemon takes on its command line, as its twin does (spec/product.md ). */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildProgram } from '../../scripts/build.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const DAEMONS = ['aos-iam', 'aos-cm', 'aos-sm', 'aos-mp'] as const;

let directory: string;
beforeAll(async () => {
  const cache = join(ROOT, 'node_modules', '.cache');
  mkdirSync(cache, { recursive: true });
  directory = mkdtempSync(join(cache, 'options-'));
  await Promise.all(DAEMONS.map((name) => buildProgram(ROOT, name, directory)));
});
afterAll(() => rmSync(directory, { recursive: true }));

function run(name: string, ...words: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(directory, `${name}.mjs`), ...words], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
  });
  return { status, stdout, stderr };
}

/** One line of the log, as `-j` marks it with its priority. */
const MARKED = /^<\d>\{/;

describe.each(DAEMONS)('[X-05] %s', (name) => {
  test('tells its options', () => {
    const { status, stdout } = run(name, '-h');
    expect(status).toBe(0);
    for (const option of ['-c, --config', '-v, --verbose', '-j, --journal', '--version', '-h, --help']) {
      expect(stdout).toContain(option);
    }
    expect(stdout.includes('-p, --provisioning')).toBe(name === 'aos-iam' || name === 'aos-mp');
    expect(stdout.includes('-r, --reset')).toBe(name === 'aos-cm');
  });

  test('tells its version, and nothing else', () => {
    expect(run(name, '--version')).toEqual({
      status: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      stderr: '',
    });
  });

  test('refuses an option that it does not know', () => {
    const { status, stderr } = run(name, '--nonsense');
    expect(status).not.toBe(0);
    expect(stderr).toContain('--nonsense');
  });

  test('[X-06] says in its log who it is, and ends when its configuration is missing; with -j as the journal wants it', () => {
    const plain = run(name, '-c', '/nonexistent/daemon.cfg');
    expect(plain.status).toBe(1);
    const lines = plain.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { name: string; msg: string });
    expect(new Set(lines.map((line) => line.name))).toEqual(new Set([name]));
    expect(lines.map((line) => line.msg).join('\n')).toContain('/nonexistent/daemon.cfg');

    const journal = run(name, '-j', '-c', '/nonexistent/daemon.cfg');
    for (const line of journal.stdout.trim().split('\n')) expect(line).toMatch(MARKED);
  });

  test('[X-06] tells as much as it is asked to, and names a level that there is not', () => {
    expect(run(name, '-v', 'disable', '-c', '/nonexistent/daemon.cfg').stdout).toBe('');
    expect(run(name, '-v', 'error', '-c', '/nonexistent/daemon.cfg').stdout).not.toContain('starting');
    expect(run(name, '-v', 'loud', '-c', '/nonexistent/daemon.cfg').stdout).toMatch(/loud.*disable, error, warn/);
  });
});
