/** Units by `systemctl`: a script plays it, in the words of the real one. */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { FakeUnits, rebootByCommand, rebootByUnit, SystemdUnits, type Units } from './units.ts';

const signal = new AbortController().signal;
const PATH = process.env.PATH;

/** Both are told the same: `good.service` is active, `bad.service` failed. */
function unitsSuite(name: string, make: () => Units): void {
  describe(name, () => {
    test('[SM-44] [SM-45] the state of a unit is told', async () => {
      const units = make();
      expect(await units.activeState('good.service', signal)).toBe('active');
      expect(await units.activeState('bad.service', signal)).toBe('failed');
    });

    test('[SM-44] [SM-45] a unit that does not exist is named', async () => {
      const asked = make().activeState('none.service', signal);
      await expect(asked).rejects.toThrow(/no unit none.service/);
      await expect(asked).rejects.toMatchObject({ code: 'notFound' });
    });
  });
}

let directory: string;
const at = (name: string) => join(directory, name);

async function play(program: string, script: string): Promise<void> {
  await writeFile(at(program), `#!/bin/sh\n${script}\n`);
  await chmod(at(program), 0o755);
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-systemctl-'));
  process.env.PATH = `${directory}${delimiter}${PATH}`;
  await play(
    'systemctl',
    `echo "$@" >> "$(dirname "$0")/log"
[ "$1" = start ] && exit "$(cat "$(dirname "$0")/start-code" 2>/dev/null || echo 0)"
case "$4" in
  good.service) echo LoadState=loaded; echo ActiveState=active;;
  bad.service) echo LoadState=loaded; echo ActiveState=failed;;
  *) echo LoadState=not-found; echo ActiveState=inactive;;
esac`,
  );
});
afterEach(async () => {
  process.env.PATH = PATH;
  await rm(directory, { recursive: true, force: true });
});

unitsSuite('SystemdUnits', () => new SystemdUnits());
unitsSuite('FakeUnits', () => {
  const units = new FakeUnits();
  units.states.set('good.service', 'active').set('bad.service', 'failed');
  return units;
});

test('[SM-44] systemd that does not answer is told in its words', async () => {
  await play('systemctl', 'echo "Failed to connect to bus: No such file" >&2; exit 1');
  await expect(new SystemdUnits().activeState('good.service', signal)).rejects.toThrow(
    /exit=1: Failed to connect to bus/,
  );
});

test('[SM-60] the reboot is a job of the unit for it, and its failure is told', async () => {
  await rebootByUnit();
  expect(await readFile(at('log'), 'utf8')).toBe('start --job-mode=replace-irreversibly aos-reboot.service\n');
  await writeFile(at('start-code'), '5');
  await expect(rebootByUnit()).rejects.toMatchObject({ code: 'runtime', exitCode: 5 });
});

test('[SM-60] a command of its own takes the place of the unit', async () => {
  await play('restart-me', 'echo "$@" > "$(dirname "$0")/rebooted"');
  await rebootByCommand([at('restart-me'), 'now', 'please']);
  expect(await readFile(at('rebooted'), 'utf8')).toBe('now please\n');
});
