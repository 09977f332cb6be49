/** The hook that gives a board without a clock a plausible time, with a stand-in for `date --set`. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

const HOOK = join(import.meta.dirname, 'hooks', 'plausible-clock');
/** When the package was made, in seconds since 1970. */
const MADE_S = 1_800_000_000;
const DAY_S = 86_400;

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'aos-clock-'));
  write('lib/aoscore', MADE_S);
});

afterEach(() => rmSync(directory, { recursive: true }));

function write(name: string, modifiedS: number): void {
  const path = join(directory, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, '');
  utimesSync(path, modifiedS, modifiedS);
}

/** Runs the hook under a clock; answers what it set, in seconds since 1970. */
function setUnder(nowS: number): number | undefined {
  const asked = join(directory, 'asked');
  write('bin/date', 0);
  writeFileSync(
    join(directory, 'bin/date'),
    `#!/bin/sh\ncase "$1" in +%s) echo ${nowS} ;; --set=*) echo "$1" >${asked} ;; *) exec /bin/date "$@" ;; esac\n`,
  );
  chmodSync(join(directory, 'bin/date'), 0o755);
  execFileSync(HOOK, {
    env: {
      PATH: `${join(directory, 'bin')}:${process.env.PATH}`,
      AOS_VAR_DIR: join(directory, 'var'),
      AOS_LIB_DIR: join(directory, 'lib'),
    },
    stdio: 'pipe',
  });
  return existsSync(asked) ? Number(readFileSync(asked, 'utf8').trim().slice('--set=@'.length)) : undefined;
}

test('[O-09] a clock in 1970 is set to the newest that the daemons wrote', () => {
  write('var/iam/aos-iam.db', MADE_S + 2 * DAY_S);
  write('var/workdirs/cm/aos-cm.db-wal', MADE_S + 3 * DAY_S);
  write('var/workdirs/cm/aos-cm.db', MADE_S + DAY_S);
  expect(setUnder(1000)).toBe(MADE_S + 3 * DAY_S);
});

test('[O-09] on a blank node it is set to the making of the package', () => {
  expect(setUnder(1000)).toBe(MADE_S);
});

test('[O-09] what was written under a clock that ran ahead of everything is no evidence', () => {
  write('var/workdirs/cm/aos-cm.db', MADE_S + 40 * 365 * DAY_S);
  write('var/iam/aos-iam.db', MADE_S + DAY_S);
  expect(setUnder(1000)).toBe(MADE_S + DAY_S);
});

test('[O-09] a clock that may be right is left alone', () => {
  write('var/workdirs/cm/aos-cm.db', MADE_S + 9 * DAY_S);
  expect(setUnder(MADE_S + DAY_S)).toBeUndefined();
});
