import { configDefaults, defineConfig } from 'vitest/config';

// What needs a virtual machine is in vitest.vm.config.ts.
const exclude = [...configDefaults.exclude, 'test/vm/stories/**'];

/** CI shows what needed a second try; at a developer's it fails, so that it is mended. */
const retry = process.env.CI ? 1 : 0;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'rooms',
          include: [
            'src/**/*.test.ts',
            'test/vm/*.test.ts',
            'scripts/**/*.test.ts',
            'devenv/**/*.test.ts',
            'packaging/**/*.test.ts',
          ],
          exclude,
          testTimeout: 30_000,
          retry,
          sequence: { groupOrder: 0 },
        },
      },
      {
        // Whole daemons share cgroups and ports of the host, and would only wait for each other: one file at a time.
        test: {
          name: 'whole',
          include: ['test/{component,e2e,fault}/**/*.test.ts'],
          exclude,
          testTimeout: 60_000,
          retry,
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
