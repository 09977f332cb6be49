import { basename } from 'node:path';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** These take minutes: the others fill what they leave. */
const LONGEST = ['firmware.test.ts', 'power-cut.test.ts', 'inside.test.ts', 'unit.test.ts', 'provisioned-node.test.ts'];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => LONGEST.indexOf(basename(moduleId)) + 1 || LONGEST.length + 1;
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b));
  }
}

/** Tests in virtual machines (`./dev test --vm`): two files at a time, since a machine keeps about one core busy. */
export default defineConfig({
  test: {
    include: ['test/vm/stories/**/*.test.ts'],
    globalSetup: 'test/vm/images.ts',
    maxWorkers: 2,
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
