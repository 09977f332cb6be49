/** The polite part of a stop (spec/decisions.md 5.4). */
import type { Clock } from '../../core/index.ts';
import { handlesSignal, signalProcess } from '../../platform/proc/index.ts';
import type { ContainerRun } from './container-run.ts';
import type { LaunchRecord } from './runtime-model.ts';

/** Sends the stop signal and waits; answers how that went. */
export async function askToEnd(
  run: ContainerRun | undefined,
  { process, stopSignal, stopTimeoutMs }: LaunchRecord,
  clock: Clock,
  signal: AbortSignal,
): Promise<string> {
  if (!run || run.end || !process) return 'it was stopped';
  if (!handlesSignal(process.pid, stopSignal)) return 'it was killed: it does not listen to its stop signal';
  if (!signalProcess(process, stopSignal)) return 'it was stopped';
  const ended = await waitForEnd(run, stopTimeoutMs, clock, signal);
  return ended ? 'it was stopped and ended in order' : `it was killed ${stopTimeoutMs} ms after its stop signal`;
}

/** True when the first process ended within the time; a wait that nobody wants any more ends without. */
export async function waitForEnd(
  run: ContainerRun | undefined,
  timeoutMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean> {
  if (!run || run.end) return true;
  const enough = new AbortController();
  const tooLong = clock
    .sleep(timeoutMs, AbortSignal.any([enough.signal, signal]))
    // The sleep ends early for one reason only: it is not needed any more.
    .catch(() => undefined)
    .then(() => run.look());
  await Promise.race([run.ended, tooLong]);
  enough.abort();
  return run.end !== undefined;
}
