/** Helpers of a daemon that was killed. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { childrenOf, endDescendants, identifyProcess } from '../proc/index.ts';
import { HelperShell } from '../program/index.ts';
import { settleFormerHelpers } from './former-helpers.ts';

const STATE_ROOT = '/run/nowhere/of-this-test';

describe('[R-01] [SM-58] whoever comes next', () => {
  const started: (number | undefined)[] = [];
  afterEach(() => {
    for (const pid of started.splice(0)) if (pid !== undefined) endDescendants(pid);
  });

  /** A shell with these words that does what it is told until its input ends. */
  function start(script: string, ...words: string[]): ChildProcess {
    const child = spawn('sh', ['-c', script, ...words], { stdio: ['pipe', 'ignore', 'ignore'] });
    started.push(child.pid);
    return child;
  }

  /** The same by somebody who is gone, so that it is not one of ours. */
  function startByAnother(script: string, ...words: string[]): number {
    const start = 'sh -c "$@" >/dev/null 2>&1 & echo $!';
    const pid = Number(execFileSync('sh', ['-c', start, 'sh', script, ...words], { encoding: 'utf8' }));
    started.push(pid);
    return pid;
  }

  test('does not wait for its own shell', async () => {
    const pids: number[] = [];
    const shell = new HelperShell({ shell: '/bin/sh', name: STATE_ROOT, place: (pid) => pids.push(pid) });
    const signal = AbortSignal.timeout(30_000);
    await shell.run(['true'], { signal, timeoutMs: 30_000 });
    expect(pids).toHaveLength(1);
    expect(await settleFormerHelpers(STATE_ROOT, () => pids)).toBe('gone');
    await shell.close();
  });

  test('waits for a conmon that has started no container yet', async () => {
    const conmon = start('read line', 'conmon', `--runtime-arg=${STATE_ROOT}`);
    const events: string[] = [];
    const waiting = settleFormerHelpers(STATE_ROOT, () => [conmon.pid!]).then(() => events.push('waited'));
    setTimeout(() => {
      events.push('ends');
      conmon.stdin?.end();
    }, 100);
    await waiting;
    expect(events).toEqual(['ends', 'waited']);
  });

  test('does not wait for a conmon that watches over a container, nor for one of another daemon', async () => {
    const watches = start('sleep 1000 & echo >/dev/null; wait', 'conmon', `--runtime-arg=${STATE_ROOT}`);
    await once(watches, 'spawn');
    const other = start('read line', 'conmon', '--runtime-arg=/run/elsewhere');
    expect(await settleFormerHelpers(STATE_ROOT, () => [watches.pid!, other.pid!])).toBe('gone');
  });

  test('ends a shell and a conmon that hang, with what they have started, and spares who watches over a container', async () => {
    const work = 'sleep 1000 & wait';
    const shell = startByAnother(work, 'aos-helpers', STATE_ROOT);
    const conmon = start('read line', 'conmon', `--runtime-arg=${STATE_ROOT}`).pid!;
    const watches = start(work, 'conmon', `--runtime-arg=${STATE_ROOT}`).pid!;
    for (const pid of [shell, watches]) await expect.poll(() => childrenOf(pid)).toHaveLength(1);
    const [removal] = childrenOf(shell);
    const [container] = childrenOf(watches);
    const all = [shell, conmon, watches];
    expect(await settleFormerHelpers(STATE_ROOT, () => all, 100)).toBe('hung');
    const stillThere = () => [...all, removal!, container!].filter((pid) => identifyProcess(pid) !== undefined);
    await expect.poll(stillThere).toEqual([watches, container]);
  });
});
