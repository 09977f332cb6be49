import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { handlesSignal, identifyProcess, isRunning, parseSignal, signalProcess } from './process.ts';

describe('a process', () => {
  test('is known by its number and its start, and gone when it has ended', async () => {
    const child = spawn('sleep', ['1000'], { stdio: 'ignore' });
    const identity = identifyProcess(child.pid!)!;
    expect(isRunning(identity)).toBe(true);
    expect(isRunning({ ...identity, startTime: '1' })).toBe(false);
    expect(signalProcess({ ...identity, startTime: '1' }, 'SIGKILL')).toBe(false);
    expect(signalProcess(identity, 'SIGKILL')).toBe(true);
    await once(child, 'exit');
    expect(isRunning(identity)).toBe(false);
    expect(signalProcess(identity, 'SIGKILL')).toBe(false);
  });

  test('whose name looks like other fields is still read', async () => {
    const child = spawn('sh', ['-c', 'printf ") R 1 (" > /proc/self/comm; read x'], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    expect(identifyProcess(child.pid!)?.startTime).toMatch(/^\d+$/);
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
  });

  test('tells whether it listens to a signal', async () => {
    const child = spawn('sh', ['-c', 'trap : TERM; echo ready; read x'], { stdio: ['pipe', 'pipe', 'ignore'] });
    await once(child.stdout, 'data');
    expect([handlesSignal(child.pid!, 15), handlesSignal(child.pid!, 10)]).toEqual([true, false]);
    const exit = once(child, 'exit');
    child.kill('SIGKILL');
    await exit;
    expect(handlesSignal(child.pid!, 15)).toBe(false);
  });
});

test.each([
  ['SIGTERM', 15],
  ['term', 15],
  ['15', 15],
  ['SIGRTMIN+3', 37],
  ['RTMAX-1', 63],
  ['64', 64],
  ['0', undefined],
  ['65', undefined],
  ['SIGRTMIN+40', undefined],
  ['SIGNOTHING', undefined],
  ['', undefined],
])('[P-17] the stop signal "%s" is number %s', (text, number) => {
  expect(parseSignal(text)).toBe(number);
});
