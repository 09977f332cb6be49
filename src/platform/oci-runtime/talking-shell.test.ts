/** Programs that answer from the background. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { isAosError } from '../../core/index.ts';
import { identifyProcess, parentOf } from '../proc/index.ts';
import { TalkingShell } from './talking-shell.ts';

const patience = { signal: AbortSignal.timeout(60_000), timeoutMs: 30_000 };
/** Goes on in the background, where `later` is done, and leaves its number as conmon does. */
const inBackground = (later: string) => ['sh', '-c', `( ${later} ) & echo $! > pid`];

describe('[SM-19] a shell that talks with programs', () => {
  let directory: string;
  let shell: TalkingShell;
  let pids: number[];
  const at = (name: string) => join(directory, name);

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'aos-talk-'));
    pids = [];
    shell = new TalkingShell({ shell: '/bin/sh', name: directory, place: (pid) => pids.push(pid) });
  });

  afterEach(async () => {
    await shell.close();
    await rm(directory, { recursive: true, force: true });
  });

  const conversation = () => ({
    ...{ ...patience, what: 'the program', directory, variable: 'ANSWER' },
    ...{ complaints: at('complaints'), pidFile: at('pid') },
  });

  async function untilGone(pid: number): Promise<void> {
    const signal = AbortSignal.timeout(10_000);
    while (identifyProcess(pid)) {
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  test('what answers and goes on is heard, and what ends without an answer is empty', async () => {
    const talk = 'eval "echo hello >&$ANSWER"; sleep 0.2; echo over > "$0.over"';
    expect(await shell.converse(['sh', '-c', talk, at('complaints')], conversation())).toBe('hello');
    expect(await shell.converse(['sh', '-c', 'echo because >&2'], conversation())).toBe('');
    expect(await readFile(at('complaints'), 'utf8')).toBe('because\n');
    expect(await shell.converse(['sh', '-c', 'eval "pwd >&$ANSWER"'], conversation())).toBe(directory);
    // Whoever has answered is left alone; the next one had to wait for him to leave the foreground.
    expect(existsSync(at('complaints.over'))).toBe(true);
  });

  test('what answers and ends while we are busy is heard', async () => {
    // Whoever asks who runs is held up until the answer was given, by somebody who is gone by then.
    execFileSync('mkfifo', [at('pid')]);
    const words = ['sh', '-c', '( sleep 0.2; eval "echo hello >&$ANSWER"; echo 4194305 > pid ) &'];
    expect(await shell.converse(words, conversation())).toBe('hello');
  });

  test('each hears its own answer, also of many that are at work in the background at the same time', async () => {
    const numbers = Array.from({ length: 30 }, (_, index) => `${index}`);
    const answers = await Promise.all(
      numbers.map((number) => {
        const later = 'sleep 0.05; eval "echo $0 >&$ANSWER"; sleep 0.2';
        const words = ['sh', '-c', `( ${later} ) & echo $! > "pid$0"`, number];
        return shell.converse(words, { ...conversation(), pidFile: at(`pid${number}`) });
      }),
    );
    expect(answers).toEqual(numbers);
    expect(pids).toHaveLength(1);
  });

  test('a program that dies in the background without an answer is noticed', async () => {
    expect(await shell.converse(inBackground('exit 1'), conversation())).toBe('');
    const killed = shell.converse(inBackground('kill -9 $(cat pid)'), conversation());
    expect(await killed).toBe('');
  });

  test('a program that cannot be run is no answer, and says why', async () => {
    expect(await shell.converse([at('missing')], conversation())).toBe('');
    expect(await readFile(at('complaints'), 'utf8')).toContain('not found');
    expect(await shell.converse(['true'], { ...conversation(), directory: at('nowhere') })).toBe('');
  });

  test('[P-03] a program that hangs is named and ended, and holds nobody up afterwards', async () => {
    const hang = ['sh', '-c', 'echo $$ > own; exec sleep 1000'];
    const hanging = shell.converse(hang, { ...conversation(), timeoutMs: 300 });
    await expect(hanging).rejects.toThrow('the program did not end within 300 ms');
    expect(await shell.converse(['sh', '-c', 'eval "echo next >&$ANSWER"'], conversation())).toBe('next');
    // `exec` has changed its words; whoever gave the directory up ends what is in it.
    process.kill(Number(await readFile(at('own'), 'utf8')), 'SIGKILL');
  });

  test('one that hangs as it was called is ended', async () => {
    const hang = ['sh', '-c', 'echo $$ > own; sleep 1000; true'];
    const abort = new AbortController();
    const hanging = shell.converse(hang, { ...conversation(), signal: abort.signal });
    const signal = AbortSignal.timeout(10_000);
    while (!existsSync(at('own'))) {
      signal.throwIfAborted();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    abort.abort();
    await expect(hanging).rejects.toSatisfy((error) => isAosError(error, 'canceled'));
    await untilGone(Number(await readFile(at('own'), 'utf8')));
  });

  test('an answer that comes too late is not taken for that of another one', async () => {
    await writeFile(at('gate'), '');
    const late = 'while [ -e gate ]; do sleep 0.02; done; eval "echo late >&$ANSWER"; echo > said';
    await expect(shell.converse(inBackground(late), { ...conversation(), timeoutMs: 300 })).rejects.toSatisfy((error) =>
      isAosError(error, 'timeout'),
    );
    const next = 'rm gate; while [ ! -e said ]; do sleep 0.02; done; eval "echo mine >&$ANSWER"';
    expect(await shell.converse(['sh', '-c', next], conversation())).toBe('mine');
  });

  test('a shell that is lost fails what it was about to start, and another one takes its place', async () => {
    const running = shell.converse(['sh', '-c', 'sleep 0.3'], conversation());
    await new Promise((resolve) => setTimeout(resolve, 50));
    process.kill(pids[0]!, 'SIGKILL');
    await expect(running).rejects.toThrow('the shell that starts helpers has ended');
    expect(await shell.converse(['sh', '-c', 'eval "echo again >&$ANSWER"'], conversation())).toBe('again');
    expect(parentOf(pids[1]!)).toBe(process.pid);
  });
});
