/** What a built aosctl knows of the configurations of daemons that are not even there. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { buildProgram } from './build.ts';

const ROOT = join(import.meta.dirname, '..');

let directory: string;
let aosctl: string;

beforeAll(async () => {
  // Below the project, where it finds its native module.
  const parent = join(ROOT, 'node_modules', '.cache');
  mkdirSync(parent, { recursive: true });
  directory = mkdtempSync(join(parent, 'daemon-checks-'));
  aosctl = await buildProgram(ROOT, 'aosctl', directory);
}, 120_000);
afterAll(() => rmSync(directory, { recursive: true }));

/** Nothing of it can start another program. */
function run(...args: readonly string[]) {
  return spawnSync(process.execPath, [aosctl, ...args], { encoding: 'utf8', env: { PATH: directory } });
}

test.each(['cm', 'sm', 'iam', 'resources'])('[P-10] %s.cfg of the package is judged without its daemon', (name) => {
  const { status, stdout } = run('config', 'check', join(ROOT, 'packaging', 'etc', 'aos', `${name}.cfg`));
  expect(stdout).toMatch(/\.cfg: ok/);
  expect(status).toBe(0);
});

test.each([
  ['cm.cfg', '{\n  "caCert": 5\n}', /cm\.cfg:2: caCert/],
  ['resources.cfg', '[\n  {"name": "camera", "sharedCount": -1}\n]', /resources\.cfg:2: \[0\]\.sharedCount/],
  ['aos_unit.cfg', '{\n  "version": \n}', /aos_unit\.cfg/],
  ['mp.cfg', '{\n  "mode": "neither"\n}', /mp\.cfg/],
  ['unit_config.json', '{\n  "version": \n}', /unit_config\.json/],
])('[P-10] what is wrong in %s is said as its daemon would', (name, text, words) => {
  const file = join(directory, name);
  writeFileSync(file, text);
  const { status, stdout, stderr } = run('config', 'check', file);
  expect(stdout + stderr).toMatch(words);
  expect(stdout + stderr).not.toMatch(/is it installed/);
  expect(status).not.toBe(0);
});

test('[P-08] the doctor judges the configurations of daemons that do not run by itself', () => {
  writeFileSync(join(directory, 'sm.cfg'), '{"caCert": 5}');
  // Only some nodes have one.
  writeFileSync(join(directory, 'mp.cfg'), '{"mode": "neither"}');
  const { stdout } = run('--json', '--socket', join(directory, 'cm.sock'), 'doctor', '--config-dir', directory);
  const findings = JSON.parse(stdout) as { check: string; level: string; found: string }[];
  for (const [name, found] of [
    ['sm.cfg', /sm\.cfg:1: caCert/],
    ['mp.cfg', /mp\.cfg:1: /],
    ['resources.cfg', /resources\.cfg:2: /],
  ] as const) {
    const check = `configuration ${join(directory, name)}`;
    expect(findings).toContainEqual(
      expect.objectContaining({ check, level: 'fault', found: expect.stringMatching(found) }),
    );
  }
});
