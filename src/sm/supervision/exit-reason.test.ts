import { expect, test } from 'vitest';
import { toErrorInfo } from '../../core/index.ts';
import { exitError, exitReason, giveUpError } from './exit-reason.ts';

test.each([
  [{ status: 0, outOfMemory: false }, 'exit code 0'],
  [{ status: 3, outOfMemory: false }, 'exit code 3'],
  [{ status: 128, outOfMemory: false }, 'exit code 128'],
  [{ status: 137, outOfMemory: false }, 'killed by signal 9'],
  [{ status: 143, outOfMemory: false }, 'killed by signal 15'],
  [{ status: 255, outOfMemory: false }, 'exit code 255'],
  [{ status: -1, outOfMemory: false }, 'exit code unknown'],
  [{ status: 137, outOfMemory: true, ramLimit: 33_554_432 }, 'out of memory (limit 33554432)'],
  [{ status: 137, outOfMemory: true }, 'out of memory'],
  // The kernel killed a child; the service itself went on and ended in its own way.
  [{ status: 1, outOfMemory: true, ramLimit: 33_554_432 }, 'exit code 1'],
])('[P-18] %o is "%s"', (facts, reason) => {
  expect(exitReason(facts)).toBe(reason);
});

test('[P-18] the exit status travels beside the words, also when it was given up', () => {
  const cause = exitError({ status: 3, outOfMemory: false });
  expect(toErrorInfo(cause)).toEqual({ aosCode: 1, exitCode: 3, message: 'exit code 3' });
  expect(toErrorInfo(giveUpError(3, cause))).toEqual({
    aosCode: 1,
    exitCode: 3,
    message: 'gave up after 3 restarts: exit code 3',
  });
});

test('the longest reason fits into what a twin reads', () => {
  const cause = exitError({ status: 137, outOfMemory: true, ramLimit: 999_999_999_999 });
  expect(Buffer.byteLength(giveUpError(100, cause).message)).toBeLessThanOrEqual(63);
});
