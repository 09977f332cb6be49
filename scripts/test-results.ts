/** What vitest's JSON reporter says, as far as this project needs it. */
import { existsSync, readFileSync } from 'node:fs';

export interface TestResult {
  readonly file: string;
  readonly title: string;
  readonly status: 'passed' | 'failed' | 'skipped';
}

export interface TestRun {
  readonly tests: readonly TestResult[];
  /** Failures that belong to no test: files that could not be loaded. */
  readonly brokenFiles: readonly string[];
}

interface VitestJson {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

/** Reads a report; a missing one is an empty run (vitest did not get that far). */
export function readTestRun(path: string): TestRun {
  if (!existsSync(path)) return { tests: [], brokenFiles: [] };
  const report = JSON.parse(readFileSync(path, 'utf8')) as VitestJson;
  const tests = report.testResults.flatMap((file) =>
    file.assertionResults.map(
      (test): TestResult => ({
        file: file.name,
        title: test.fullName,
        status: test.status === 'passed' || test.status === 'failed' ? test.status : 'skipped',
      }),
    ),
  );
  const brokenFiles = report.testResults
    .filter((file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'))
    .map((file) => file.name);
  return { tests, brokenFiles };
}

/** Files in which something failed, each once. */
export function failedFiles({ tests, brokenFiles }: TestRun): string[] {
  return [...new Set([...tests.filter(({ status }) => status === 'failed').map(({ file }) => file), ...brokenFiles])];
}

/** A run whose files that were run again count as they went then. */
export function withSecondTry(first: TestRun, again: TestRun): TestRun {
  const tried = new Set([...again.tests.map(({ file }) => file), ...again.brokenFiles]);
  return {
    tests: [...first.tests.filter(({ file }) => !tried.has(file)), ...again.tests],
    brokenFiles: [...first.brokenFiles.filter((file) => !tried.has(file)), ...again.brokenFiles],
  };
}
