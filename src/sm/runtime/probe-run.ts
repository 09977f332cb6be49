/** The probes of one run of an instance (spec/beyond.md P-19). */
import { type ProbeWay, waitUntilDead, waitUntilReady } from '../supervision/index.ts';
import { cgroupPathOf } from './build-oci-config.ts';
import type { ContainerRun } from './container-run.ts';
import type { InstanceParts } from './instance-parts.ts';
import type { LaunchRecord } from './runtime-model.ts';

export interface ProbedInstance {
  readonly id: string;
  readonly record: LaunchRecord;
}

/** Resolves when the start probe succeeded, or the run has ended. Throws `timeout` when neither happens in time. */
export async function probeUntilReady(
  { id, record }: ProbedInstance,
  run: ContainerRun,
  { clock, probeOnce }: InstanceParts,
  over: AbortSignal,
): Promise<void> {
  const { probe, netnsPath } = record;
  if (!probe) return;
  const enough = new AbortController();
  const once = (way: ProbeWay, signal: AbortSignal) => probeOnce(id, netnsPath, way, signal);
  const probing = waitUntilReady(probe, once, clock, AbortSignal.any([enough.signal, over]));
  await Promise.race([probing, run.ended]).finally(() => enough.abort());
  // The loser of the race may still fail; nobody asks it any more.
  probing.catch(() => undefined);
}

/** A run that does not answer any more is ended; what was found is told before. */
export function endWhenDead(
  { id, record }: ProbedInstance,
  { clock, probeOnce, cgroups, logger }: InstanceParts,
  signal: AbortSignal,
  tell: (finding: string) => void,
): void {
  const { live, netnsPath } = record;
  if (!live) return;
  const once = (way: ProbeWay, own: AbortSignal) => probeOnce(id, netnsPath, way, own);
  waitUntilDead(live, once, clock, signal).then(
    (finding) => {
      if (signal.aborted) return;
      tell(finding);
      logger.warn({ id, finding }, 'its live probe failed: it is ended and started again');
      cgroups.kill(cgroupPathOf(id));
    },
    // The run is over: nobody asks any more.
    () => undefined,
  );
}
