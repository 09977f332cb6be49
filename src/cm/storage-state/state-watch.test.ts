import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Clock, silentLogger, systemClock } from '../../core/index.ts';
import { StateWatch } from './state-watch.ts';

let directory: string;
let watch: StateWatch;
let nowMs = 0;
/** Pauses that the watch has begun, and how to end the last one. */
let pausesMs: number[] = [];
let endPause: () => void = () => undefined;
let rests = 0;

const clock: Clock = {
  ...systemClock,
  monotonicMs: () => nowMs,
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      pausesMs.push(ms);
      endPause = resolve;
      signal?.addEventListener('abort', () => reject(new Error('aborted')));
    }),
};

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-state-watch-'));
  [nowMs, pausesMs, rests] = [0, [], 0];
  const onRest = () => {
    rests += 1;
  };
  watch = new StateWatch({ directory, onRest, clock, logger: silentLogger });
});

afterEach(async () => {
  watch.close();
  await rm(directory, { recursive: true, force: true });
});

/** Writes at a time and waits until the watch waits for so long. */
async function writeAt(atMs: number, pauseMs: number): Promise<void> {
  nowMs = atMs;
  await writeFile(join(directory, 'state.dat'), String(atMs));
  while (pausesMs.at(-1) !== pauseMs) await new Promise((resolve) => setTimeout(resolve, 5));
}

test('[CM-102] a state is at rest one second after its last change, and at the latest ten seconds after the first', async () => {
  await writeAt(0, 1000);
  await writeAt(8000, 1000);
  await writeAt(9400, 600);
  await writeAt(12_000, 0);
  expect(rests).toBe(0);
  endPause();
  while (rests === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await writeAt(12_001, 1000);
  expect(rests).toBe(1);
});
