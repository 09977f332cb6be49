/** What a daemon that was killed had told its helpers to do, they do to the end; whoever comes next has to wait for it. */
import { setTimeout } from 'node:timers/promises';
import { commandLineOf, parentOf, parents } from '../proc/index.ts';

const PATIENCE_MS = 5_000;
const PAUSE_MS = 10;

/**
 * Waits until nobody works any more on what the runtime remembers at this place: no shell of a former daemon, no runtime,
 * and no conmon that is about to start a runtime, or about to end. False when that takes too long.
 */
export async function formerHelpersEnd(stateRoot: string, candidates: () => readonly number[]): Promise<boolean> {
  const deadline = performance.now() + PATIENCE_MS;
  while (isAtWork(stateRoot, candidates())) {
    if (performance.now() > deadline) return false;
    await setTimeout(PAUSE_MS);
  }
  return true;
}

function isAtWork(stateRoot: string, candidates: readonly number[]): boolean {
  const words = candidates.map((pid) => ({ pid, words: commandLineOf(pid) }));
  if (words.some((one) => one.words.includes(stateRoot) && !descendsFrom(one.pid, process.pid))) return true;
  const monitors = words.filter((one) => one.words.includes(`--runtime-arg=${stateRoot}`));
  if (monitors.length === 0) return false;
  // One that watches over a container is its parent.
  const busy = parents();
  return monitors.some(({ pid }) => !busy.has(pid));
}

function descendsFrom(pid: number, ancestor: number): boolean {
  for (let at: number | undefined = pid; at !== undefined && at > 1; at = parentOf(at)) {
    if (at === ancestor) return true;
  }
  return false;
}
