/**
 * `npm run capabilities`: which capabilities have passing tests; prints a summary and writes docs/capabilities.md. Runs
 * all tests but those in virtual machines. `--last` takes what the last `./dev test --all` found instead, `--report
 * <file>` (which may be repeated) any other reports of vitest.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  type CapabilityGroup,
  namedFromCheckout,
  parseCapabilities,
  renderMarkdown,
  rollUp,
} from './capability-report.ts';
import { readTestRun, type TestResult } from './test-results.ts';

const ROOT = join(import.meta.dirname, '..');

function runAllTests(): TestResult[] {
  const directory = mkdtempSync(join(tmpdir(), 'aos-capabilities-'));
  try {
    const report = join(directory, 'report.json');
    spawnSync(
      join(ROOT, 'node_modules', '.bin', 'vitest'),
      ['run', '--reporter=default', '--reporter=json', `--outputFile=${report}`],
      { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit'] },
    );
    return testsOf(report);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function summarize(groups: readonly CapabilityGroup[]): void {
  for (const group of groups) {
    const proven = group.capabilities.filter((capability) => capability.state === 'proven').length;
    console.log(`${group.title}: ${proven} of ${group.capabilities.length}`);
    for (const { id, state, tests } of group.capabilities) {
      if (state !== 'open') console.log(`  ${id} ${state} by ${tests.length} test${tests.length === 1 ? '' : 's'}`);
    }
  }
}

const LAST = ['test-results.json', 'test-results-vm.json'].map((name) => join(ROOT, 'build', name));

function readReports(paths: readonly string[]): TestResult[] {
  const missing = paths.find((path) => !existsSync(path));
  if (missing !== undefined) {
    console.error(`there is no report ${missing}; ./dev test --all writes it`);
    process.exit(2);
  }
  return paths.flatMap(testsOf);
}

/** Each report may come from another checkout. */
function testsOf(report: string): TestResult[] {
  return namedFromCheckout(readTestRun(report).tests, (name) => existsSync(join(ROOT, name)));
}

const { values } = parseArgs({
  options: { report: { type: 'string', multiple: true }, last: { type: 'boolean', default: false } },
});
const reports = values.last ? LAST : values.report;
const known = parseCapabilities(readFileSync(join(import.meta.dirname, 'capabilities.txt'), 'utf8'));
const tests = reports === undefined ? runAllTests() : readReports(reports);
const { groups, unknownIds } = rollUp(known, tests);
summarize(groups);
for (const id of unknownIds) console.error(`a test names ${id}, which is not in scripts/capabilities.txt`);
writeFileSync(join(ROOT, 'docs', 'capabilities.md'), renderMarkdown(groups));
process.exitCode = unknownIds.length === 0 ? 0 : 1;
