import { expect, test } from 'vitest';
import { failedFiles, type TestResult, type TestRun, withSecondTry } from './test-results.ts';

const result = (file: string, title: string, status: TestResult['status']): TestResult => ({ file, title, status });

const FIRST: TestRun = {
  tests: [
    result('a.test.ts', 'one', 'passed'),
    result('b.test.ts', 'two', 'failed'),
    result('b.test.ts', 'three', 'failed'),
    result('c.test.ts', 'four', 'skipped'),
  ],
  brokenFiles: ['c.test.ts'],
};

test('each file in which something failed is named once', () => {
  expect(failedFiles(FIRST)).toEqual(['b.test.ts', 'c.test.ts']);
});

test('files that were run again count as they went then, for better or worse', () => {
  const again: TestRun = {
    tests: [result('b.test.ts', 'two', 'passed'), result('b.test.ts', 'three', 'failed')],
    brokenFiles: ['c.test.ts'],
  };
  expect(withSecondTry(FIRST, again)).toEqual({
    tests: [result('a.test.ts', 'one', 'passed'), ...again.tests],
    brokenFiles: ['c.test.ts'],
  });
});

test('a second run that never came about changes nothing', () => {
  expect(withSecondTry(FIRST, { tests: [], brokenFiles: [] })).toEqual(FIRST);
});
