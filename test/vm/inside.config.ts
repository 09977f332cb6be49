import { defineConfig } from 'vitest/config';

/** The tests of any room in a virtual machine (tests-inside.ts): one file at a time, since it has one slow processor. */
export default defineConfig({
  test: {
    include: JSON.parse(process.env.AOS_TEST_FILES ?? '[]') as string[],
    maxWorkers: 1,
    testTimeout: 240_000,
    hookTimeout: 240_000,
    reporters: ['json'],
    outputFile: '/tmp/test-results.json',
  },
});
