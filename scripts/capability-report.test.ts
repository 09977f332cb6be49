import { describe, expect, test } from 'vitest';
import { namedFromCheckout, parseCapabilities, renderMarkdown, rollUp } from './capability-report.ts';
import type { TestResult } from './test-results.ts';

const LIST = '# Link\nCM-01 Finds the cloud\nCM-02 Takes the | URL\n\n# Node\nSM-01 Registers\nSM-02 Starts\n';
const result = (title: string, status: TestResult['status']): TestResult => ({ file: 'src/a.test.ts', title, status });

function statesAfter(...tests: TestResult[]): Record<string, string> {
  const { groups } = rollUp(parseCapabilities(LIST), tests);
  return Object.fromEntries(groups.flatMap((group) => group.capabilities.map(({ id, state }) => [id, state])));
}

test('a capability is proven by passing tests, failing when one fails, and open when none ran', () => {
  const states = statesAfter(
    result('[CM-01] it is found', 'passed'),
    result('group [CM-02] [SM-01] one test proves two', 'passed'),
    result('[SM-01] but another one fails', 'failed'),
    result('[SM-02] skipped tests prove nothing', 'skipped'),
  );
  expect(states).toEqual({ 'CM-01': 'proven', 'CM-02': 'proven', 'SM-01': 'failing', 'SM-02': 'open' });
});

test('an identifier that the list does not know is reported as misspelled', () => {
  expect(rollUp(parseCapabilities(LIST), [result('[CM-99] what', 'passed')]).unknownIds).toEqual(['CM-99']);
});

test('the page counts what is proven and keeps its tables whole', () => {
  const { groups } = rollUp(parseCapabilities(LIST), [result('[CM-02] yes', 'passed')]);
  const page = renderMarkdown(groups);
  expect(page).toContain('1 of 4 are proven.');
  expect(page).toContain('| CM-02 | Takes the \\| URL | yes | `src/a.test.ts` |');
});

describe('files are named from the checkout that the report was made in', () => {
  const here = new Set(['src/a.test.ts', 'src/b.test.ts', 'test/e2e/b.test.ts', 'b.test.ts']);
  const named = (...files: readonly string[]) =>
    namedFromCheckout(
      files.map((file): TestResult => ({ file, title: '[CM-01] it is', status: 'passed' })),
      (name) => here.has(name),
    ).map(({ file }) => file);

  test.each(['/home/me/aoscore/', '/var/builds/17/aoscore/', '/src/', '/'])('%s', (root) => {
    expect(named(`${root}src/a.test.ts`, `${root}test/e2e/b.test.ts`)).toEqual(['src/a.test.ts', 'test/e2e/b.test.ts']);
  });

  test('also one that is not here any more', () => {
    expect(named('/ci/main/src/a.test.ts', '/ci/main/src/gone.test.ts', '/ci/main/src/b.test.ts')).toEqual([
      'src/a.test.ts',
      'src/gone.test.ts',
      'src/b.test.ts',
    ]);
  });

  test('one of which nothing is here keeps its names', () => {
    expect(named('/other/x.test.ts')).toEqual(['/other/x.test.ts']);
    expect(named()).toEqual([]);
  });
});
