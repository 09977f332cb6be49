/**
 * `./dev test [--vm | --all] [pattern]` after the installation: all checks, then all tests or those whose file or title
 * contains the pattern. `--vm` runs those in virtual machines instead, `--all` both; with `--minutes N` it leaves out stories
 * in virtual machines that would not be over by then, each of which counts as skipped. The last line is
 * `N passed, N failed, N skipped`; a failed check counts as a failure.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { minutesOf, slownessOf, storiesThatFit } from './story-time.ts';
import { failedFiles, readTestRun, type TestResult, type TestRun, withSecondTry } from './test-results.ts';

const ROOT = join(import.meta.dirname, '..');
const BIN = join(ROOT, 'node_modules', '.bin');
const BUILD = join(ROOT, 'build');

/** Nothing can follow when the contracts cannot be generated. */
const FIRST_CHECK = 'generate';
/** Most of these keep one core busy: they run beside each other. */
const CHECKS = ['build', 'typecheck', 'format:check', 'lint', 'layers'] as const;

/** When more than these failed, something is broken. */
const SECOND_TRY_FILES = 5;

interface Suite {
  readonly name: string;
  readonly config: string;
  readonly report: string;
}

const HERE: Suite = { name: 'tests', config: 'vitest.config.ts', report: join(BUILD, 'test-results.json') };
const IN_MACHINES: Suite = {
  name: 'tests in virtual machines',
  config: 'vitest.vm.config.ts',
  report: join(BUILD, 'test-results-vm.json'),
};

function run(program: string, args: readonly string[]): boolean {
  return spawnSync(join(BIN, program), args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] }).status === 0;
}

interface Check {
  readonly name: string;
  readonly succeeded: boolean;
  readonly output: string;
}

async function runCheck(name: string): Promise<Check> {
  const npm = spawn('npm', ['run', '--silent', name], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  const chunks: Buffer[] = [];
  for (const stream of [npm.stdout, npm.stderr]) stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [status] = (await once(npm, 'close')) as [number | null];
  return { name, succeeded: status === 0, output: Buffer.concat(chunks).toString() };
}

/** Names of the checks that failed. */
async function runChecks(): Promise<string[]> {
  const failed: string[] = [];
  const tell = ({ name, succeeded, output }: Check) => {
    console.log(`\n── ${name}\n${output}`);
    if (!succeeded) failed.push(name);
  };
  tell(await runCheck(FIRST_CHECK));
  if (failed.length > 0) return failed;
  for (const check of CHECKS.map(runCheck)) tell(await check);
  return failed;
}

/** Titles with a pattern are found by vitest itself, so that generated titles count too. */
function filesWithTitle(suite: Suite, pattern: string): string[] {
  const words = ['list', '--json', '--config', suite.config, '--testNamePattern', escapeRegExp(pattern)];
  const list = spawnSync(join(BIN, 'vitest'), words, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 64 * 1024 * 1024,
  });
  const tests = JSON.parse(list.stdout || '[]') as { name: string; file: string }[];
  return [...new Set(tests.map((test) => test.file))];
}

const escapeRegExp = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

interface Outcome {
  readonly tests: readonly TestResult[];
  readonly failures: readonly string[];
}

interface SuiteRun extends TestRun {
  readonly succeeded: boolean;
}

function runVitest(suite: Suite, report: string, args: readonly string[]): SuiteRun {
  mkdirSync(BUILD, { recursive: true });
  rmSync(report, { force: true });
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile=${report}`];
  const succeeded = run('vitest', ['run', '--config', suite.config, ...reporters, ...args]);
  return { succeeded, ...readTestRun(report) };
}

/**
 * In CI a few files that failed are run once more, alone and from their beginning: a machine that stumbled is told from
 * what is broken. Both runs stand in the output.
 */
function runTests(
  suite: Suite,
  args: readonly string[],
  hasTimeFor: (files: readonly string[]) => boolean = () => true,
): Outcome {
  let outcome = runVitest(suite, suite.report, args);
  const names = failedFiles(outcome).map((file) => relative(ROOT, file));
  if (process.env.CI && names.length > 0 && names.length <= SECOND_TRY_FILES && hasTimeFor(names)) {
    console.log(`\n── ${suite.name}, a second time: ${names.join(', ')}`);
    const again = runVitest(suite, suite.report.replace('.json', '-again.json'), names);
    const { tests, brokenFiles } = withSecondTry(outcome, again);
    outcome = { tests, brokenFiles, succeeded: again.succeeded };
  }
  const failures = [
    ...outcome.tests
      .filter((test) => test.status === 'failed')
      .map(({ file, title }) => `${relative(ROOT, file)}: ${title}`),
    ...outcome.brokenFiles.map((file) => `${relative(ROOT, file)}: the file could not be run`),
  ];
  if (!outcome.succeeded && failures.length === 0) failures.push('vitest ended with an error outside of the tests');
  return { tests: outcome.tests, failures };
}

/** Files whose path contains the pattern are run whole, of the others only the tests with it in their title. */
function runMatching(suite: Suite, pattern: string): Outcome {
  const byTitle = filesWithTitle(suite, pattern).filter((file) => !relative(ROOT, file).includes(pattern));
  const whole = runTests(suite, [pattern, '--passWithNoTests']);
  if (byTitle.length === 0) return whole;
  const titled = runTests(suite, [...byTitle, '--testNamePattern', escapeRegExp(pattern)]);
  const wanted = titled.tests.filter((test) => test.status !== 'skipped' || test.title.includes(pattern));
  return { tests: [...whole.tests, ...wanted], failures: [...whole.failures, ...titled.failures] };
}

function runSuite(suite: Suite, pattern: string | undefined): Outcome {
  console.log(`\n── ${suite.name}`);
  return pattern === undefined ? runTests(suite, []) : runMatching(suite, pattern);
}

const minutesNow = () => performance.now() / 60_000;

/** All tests, and of the stories in virtual machines those that are over in time. */
function runInTime(minutes: number): Outcome {
  const beginning = minutesNow();
  const here = runSuite(HERE, undefined);
  const slowness = slownessOf(minutesNow() - beginning);
  const leftMinutes = minutes - minutesNow();
  const { chosen, left } = storiesThatFit(leftMinutes, slowness);
  const fileOf = (name: string) => join('test', 'vm', 'stories', `${name}.test.ts`);
  console.log(`\n── ${IN_MACHINES.name}, ${leftMinutes.toFixed(0)} minutes are left of ${minutes}`);
  const none: Outcome = { tests: [], failures: [] };
  const hasTimeFor = (files: readonly string[]) => {
    const again = chosen.filter(({ name }) => files.includes(fileOf(name)));
    return minutesOf(again, slowness) <= minutes - minutesNow();
  };
  const files = chosen.map(({ name }) => fileOf(name));
  const there = files.length === 0 ? none : runTests(IN_MACHINES, files, hasTimeFor);
  const skipped = left.map((story): TestResult => {
    console.log(`SKIPPED ${fileOf(story.name)}: it takes ${minutesOf([story], slowness).toFixed(0)} minutes here`);
    return { file: fileOf(story.name), title: 'the whole story', status: 'skipped' };
  });
  return { tests: [...here.tests, ...there.tests, ...skipped], failures: [...here.failures, ...there.failures] };
}

async function main(run: () => readonly Outcome[], pattern: string | undefined): Promise<void> {
  const failedChecks = await runChecks();
  const outcomes = failedChecks.includes(FIRST_CHECK) ? [] : run();
  const tests = outcomes.flatMap((outcome) => outcome.tests);
  const failures = [
    ...failedChecks.map((check) => `check "${check}"`),
    ...outcomes.flatMap((outcome) => outcome.failures),
  ];
  const count = (status: TestResult['status']) => tests.filter((test) => test.status === status).length;
  if (pattern !== undefined && tests.length === 0) failures.push(`no test matches "${pattern}"`);
  for (const failure of failures) console.log(`FAILED ${failure}`);
  console.log(`${count('passed')} passed, ${failures.length} failed, ${count('skipped')} skipped`);
  process.exitCode = failures.length === 0 ? 0 : 1;
}

const { values, positionals } = parseArgs({
  options: {
    vm: { type: 'boolean', default: false },
    all: { type: 'boolean', default: false },
    minutes: { type: 'string' },
  },
  allowPositionals: true,
});
const [pattern] = positionals;
if (values.minutes !== undefined) {
  const minutes = Number(values.minutes);
  if (!(minutes > 0)) throw new Error(`--minutes: expected a number above 0, found "${values.minutes}"`);
  if (!values.all || pattern !== undefined) throw new Error('--minutes goes with --all and without a pattern');
  await main(() => [runInTime(minutes)], undefined);
} else {
  const suites = values.all ? [HERE, IN_MACHINES] : [values.vm ? IN_MACHINES : HERE];
  await main(() => suites.map((suite) => runSuite(suite, pattern)), pattern);
}
