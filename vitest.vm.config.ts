import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { STORIES, STORIES_AT_A_TIME } from './scripts/story-time.ts';

/** Those that take long begin first: the others fill what they leave. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const minutes = ({ moduleId }: TestSpecification) =>
      STORIES.find(({ name }) => `${name}.test.ts` === basename(moduleId))?.minutes ?? 0;
    return (await super.sort(files)).toSorted((a, b) => minutes(b) - minutes(a));
  }
}

/** Tests in virtual machines (`./dev test --vm`): two files at a time, since a machine keeps about one core busy. */
export default defineConfig({
  test: {
    include: ['test/vm/stories/**/*.test.ts'],
    globalSetup: 'test/vm/images.ts',
    maxWorkers: STORIES_AT_A_TIME,
    sequence: { sequencer: LongestFirst },
    // Whatever hangs must leave time for the others: a story takes a tenth of it.
    testTimeout: 300_000,
    hookTimeout: 450_000,
    // As for the other tests: CI shows what needed a second try.
    retry: process.env.CI ? 1 : 0,
    // What breaks all of them breaks them one after another, each until its time is over.
    bail: 4,
  },
});
