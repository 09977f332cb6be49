/** Helpers of a daemon that was killed. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { endDescendants } from '../proc/index.ts';
import { formerHelpersEnd } from './former-helpers.ts';
import { HelperShell } from './helper-shell.ts';

const STATE_ROOT = '/run/nowhere/of-this-test';

describe('[R-01] [SM-58] whoever comes next', () => {
  const started: ChildProcess[] = [];
  afterEach(() => {
    for (const { pid } of started.splice(0)) if (pid !== undefined) endDescendants(pid);
  });

  /** A shell with these words that does what it is told until its input ends. */
  function start(script: string, ...words: string[]): ChildProcess {
    const child = spawn('sh', ['-c', script, ...words], { stdio: ['pipe', 'ignore', 'ignore'] });
    started.push(child);
    return child;
  }

  test('does not wait for its own shell', async () => {
    const pids: number[] = [];
    const shell = new HelperShell({ shell: '/bin/sh', name: STATE_ROOT, place: (pid) => pids.push(pid) });
    const signal = AbortSignal.timeout(30_000);
    await shell.run(['true'], { signal, timeoutMs: 30_000 });
    expect(pids).toHaveLength(1);
    expect(await formerHelpersEnd(STATE_ROOT, () => pids)).toBe(true);
    await shell.close();
  });

  test('waits for a conmon that has started no container yet', async () => {
    const conmon = start('read line', 'conmon', `--runtime-arg=${STATE_ROOT}`);
    const events: string[] = [];
    const waiting = formerHelpersEnd(STATE_ROOT, () => [conmon.pid!]).then(() => events.push('waited'));
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
    expect(await formerHelpersEnd(STATE_ROOT, () => [watches.pid!, other.pid!])).toBe(true);
  });
});
