/** Programs by a small shell of our own. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isAosError } from '../../core/index.ts';
import { identifyProcess } from '../proc/index.ts';
import { HelperShell } from './helper-shell.ts';

const patience = { signal: AbortSignal.timeout(60_000), timeoutMs: 30_000 };

describe('a shell for helpers', () => {
  let directory: string;
  let shell: HelperShell;
  let pids: number[];

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'aos-helper-'));
    pids = [];
    shell = new HelperShell({ shell: '/bin/sh', name: directory, place: (pid) => pids.push(pid) });
  });

  afterEach(async () => {
    await shell.close();
    await rm(directory, { recursive: true, force: true });
  });

  test('tells exit code and output of each program, however many run', async () => {
    const programs = Array.from({ length: 50 }, (_, code) => [
      'sh',
      '-c',
      `echo line $0; echo "two  words"; exit ${code}`,
      `${code}`,
    ]);
    const results = await Promise.all(programs.map((words) => shell.run(words, patience)));
    expect(results).toEqual(programs.map((_, code) => ({ exitCode: code, output: `line ${code}\ntwo  words` })));
    // One shell for all of them, put in its place once.
    expect(pids).toHaveLength(1);
  });

  test('hands every word on as it is', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.string({ unit: 'grapheme' }).filter((word) => !word.includes('\0')),
          { maxLength: 4 },
        ),
        async (words) => {
          const file = join(directory, 'words');
          const script = 'file=$1; shift; printf "%s\\0" "$@" > "$file"';
          await shell.run(['sh', '-c', script, 'sh', file, 'first', ...words], patience);
          expect(await readFile(file, 'utf8')).toBe(['first', ...words].map((word) => `${word}\0`).join(''));
        },
      ),
      { numRuns: 40 },
    ));

  test('hands on what a program reads, as it is, and nothing else', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('a', "'", '"', '$x', '`id`', '\\', '\n', ' ', 'é', ')', '<<END', 'x'.repeat(5_000)), {
          minLength: 1,
          maxLength: 12,
        }),
        async (parts) => {
          const input = parts.join('');
          const file = join(directory, 'input');
          const { exitCode } = await shell.run(['sh', '-c', 'cat >"$0"', file], { ...patience, input });
          expect(exitCode).toBe(0);
          expect(await readFile(file, 'utf8')).toBe(input.endsWith('\n') ? input : `${input}\n`);
        },
      ),
      { numRuns: 40 },
    ));

  test('a program that reads nothing is given nothing, and one that does not read does not matter', async () => {
    expect(await shell.run(['cat'], patience)).toEqual({ exitCode: 0, output: '' });
    const much = 'line\n'.repeat(100_000);
    expect(await shell.run(['true'], { ...patience, input: much })).toEqual({ exitCode: 0, output: '' });
    await expect(async () => shell.run(['cat'], { ...patience, input: 'a\0b' })).rejects.toThrow('with a zero in it');
  });

  test('a word that no program can be given is refused', async () => {
    await expect(async () => shell.run(['echo', 'a\0b'], patience)).rejects.toSatisfy((error) =>
      isAosError(error, 'invalidArgument'),
    );
  });

  test('a program that hangs is ended in time, with what it has started', async () => {
    const file = join(directory, 'pid');
    const hanging = shell.run(['sh', '-c', 'sleep 1000 & echo $! > "$0"; wait', file], { ...patience, timeoutMs: 500 });
    await expect(hanging).rejects.toSatisfy((error) => isAosError(error, 'timeout'));
    const pid = Number(await readFile(file, 'utf8'));
    const signal = AbortSignal.timeout(10_000);
    while (identifyProcess(pid)) {
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  });

  test('a program that is not wanted any more is ended', async () => {
    const abort = new AbortController();
    const running = shell.run(['sleep', '1000'], { ...patience, signal: abort.signal });
    abort.abort();
    await expect(running).rejects.toSatisfy((error) => isAosError(error, 'canceled'));
  });

  test('[P-03] a program that outlasts the patience of whoever asked for it is named', async () => {
    const inTime = { ...patience, signal: AbortSignal.timeout(100) };
    await expect(shell.run(['sleep', '1000'], inTime)).rejects.toThrow(/^sleep did not end within \d+ ms$/);
  });

  test('a shell that is lost fails its programs, and another one takes its place', async () => {
    const running = shell.run(['sleep', '1000'], patience);
    process.kill(pids[0]!, 'SIGKILL');
    await expect(running).rejects.toThrow('the shell that starts helpers has ended');
    expect(await shell.run(['echo', 'again'], patience)).toEqual({ exitCode: 0, output: 'again' });
    expect(pids).toHaveLength(2);
  });
});
