/** What a daemon that was killed had told its helpers to do, they do to the end; whoever comes next waits, or ends them. */
import { setTimeout } from 'node:timers/promises';
import { commandLineOf, endDescendants, parentOf, parents } from '../proc/index.ts';

const PATIENCE_MS = 5_000;
/** What was ended is gone by then, unless the kernel holds it. */
const GONE_MS = 3_000;
const PAUSE_MS = 10;

/** `hung`: some had to be ended. `stay`: not even that helped. */
export type FormerHelpers = 'gone' | 'hung' | 'stay';

/**
 * Waits until nobody works any more on what the runtime remembers at this place: no shell of a former daemon, no runtime,
 * and no conmon that is about to start a runtime, or about to end. Whoever takes too long is ended: a removal that hangs
 * would stay for ever, or meet the next container of the same name one day.
 */
export async function settleFormerHelpers(
  stateRoot: string,
  candidates: () => readonly number[],
  patienceMs = PATIENCE_MS,
): Promise<FormerHelpers> {
  const deadline = performance.now() + patienceMs;
  let outcome: FormerHelpers = 'gone';
  for (;;) {
    const busy = atWork(stateRoot, candidates());
    if (busy.length === 0) return outcome;
    const overdueMs = performance.now() - deadline;
    if (overdueMs > GONE_MS) return 'stay';
    if (overdueMs > 0) {
      outcome = 'hung';
      // Again each time: a shell may have come to its next line.
      for (const pid of busy) endDescendants(pid);
    }
    await setTimeout(PAUSE_MS);
  }
}

function atWork(stateRoot: string, candidates: readonly number[]): number[] {
  const words = candidates.map((pid) => ({ pid, words: commandLineOf(pid) }));
  const workers = words.filter((one) => one.words.includes(stateRoot) && !descendsFrom(one.pid, process.pid));
  const monitors = words.filter((one) => one.words.includes(`--runtime-arg=${stateRoot}`));
  // One that watches over a container is its parent.
  const busy = monitors.length === 0 ? undefined : parents();
  return [...workers, ...monitors.filter(({ pid }) => !busy?.has(pid))].map(({ pid }) => pid);
}

function descendsFrom(pid: number, ancestor: number): boolean {
  for (let at: number | undefined = pid; at !== undefined && at > 1; at = parentOf(at)) {
    if (at === ancestor) return true;
  }
  return false;
}
