/** Test files of any room, run in a machine: what they say of its kernel counts as if they had been run here. */
import { execFile } from 'node:child_process';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, test } from 'vitest';
import { mountCheckout } from './checkout-disk.ts';
import type { Machine } from './machine.ts';

const run = promisify(execFile);

const ROOT = join(import.meta.dirname, '..', '..');
/** In the machine. */
const CHECKOUT = '/work';
const NODE = '/usr/lib/aoscore/node';
const RESULTS = '/tmp/test-results.json';

interface Listed {
  readonly file: string;
  /** Names of its groups and its own, with ` > ` between them. */
  readonly name: string;
}

interface Assertion {
  readonly ancestorTitles: readonly string[];
  readonly title: string;
  readonly status: string;
  readonly failureMessages?: readonly string[];
}

interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly message?: string;
    readonly assertionResults: readonly Assertion[];
  }[];
}

/** The tests of these files, relative to the checkout, as vitest lists them. */
async function listTests(files: readonly string[]): Promise<Listed[]> {
  const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
  const { stdout } = await run(process.execPath, [vitest, 'list', '--json', '--config', 'vitest.config.ts', ...files], {
    cwd: ROOT,
    maxBuffer: 64 * 1024 * 1024,
  });
  return JSON.parse(stdout) as Listed[];
}

export interface InsideOptions {
  /** Of all files together, in the machine. */
  readonly timeoutS: number;
}

/**
 * Declares the tests of these files, which run in the machine: it must have been made with `hasCheckout`, and have booted
 * when the tests begin. Await it at the top of a story.
 */
export async function testsInside(
  files: readonly string[],
  machine: () => Machine,
  { timeoutS }: InsideOptions,
): Promise<void> {
  const listed = await listTests(files);
  let report: Report;

  beforeAll(async () => {
    await machine().must(mountCheckout(CHECKOUT));
    const environment = `AOS_TEST_FILES='${JSON.stringify(files)}' CI=1`;
    const vitest = `${NODE} node_modules/vitest/vitest.mjs run --config test/vm/inside.config.ts`;
    const ended = await machine().run(`cd ${CHECKOUT} && ${environment} ${vitest} 2>&1`, { timeoutS });
    const { status, output } = await machine().run(`cat ${RESULTS}`);
    if (status !== 0) throw machine().failure(`the tests did not run in ${machine().name}:\n${ended.stdout}`);
    report = JSON.parse(output.toString()) as Report;
  }, timeoutS * 1000);

  for (const file of files) {
    describe(file, () => {
      for (const { name } of listed.filter((each) => relative(ROOT, each.file) === file)) {
        test(name, ({ skip }) => {
          const ofFile = report.testResults.find((each) => each.name === join(CHECKOUT, file));
          const found = ofFile?.assertionResults.find((each) => nameOf(each) === name);
          if (!found) throw machine().failure(`it did not run: ${ofFile?.message ?? 'the file was not found'}`);
          if (found.status === 'passed') return;
          if (found.status !== 'failed') skip('it is skipped in the machine');
          throw machine().failure(`in ${machine().name}: ${found.failureMessages?.join('\n')}`);
        });
      }
    });
  }
}

const nameOf = ({ ancestorTitles, title }: Assertion): string => [...ancestorTitles, title].join(' > ');
