/** The removal of a container: without its runtime where that has nothing to do, and where it does not do its part. */
import { setTimeout } from 'node:timers/promises';
import { type AosError, asAosError } from '../../core/index.ts';
import type { Cgroups } from '../../platform/cgroup/index.ts';
import type { ContainerEngine } from '../../platform/oci-runtime/index.ts';
import { cgroupPathOf } from './build-oci-config.ts';

/** By then what was killed has left its cgroup, unless the kernel holds it. */
const EMPTY_MS = 3_000;
const EMPTY_PAUSE_MS = 10;

export interface RemovalParts {
  readonly engine: ContainerEngine;
  readonly cgroups: Cgroups;
}

/**
 * Removes a container. Of one that has ended there is a cgroup and the record of the runtime: both are taken away
 * without loading a program. Else the runtime does it; one that hangs, fails or is not there any more must leave nothing
 * either: then cgroup and record are taken away without it, and its complaint is the answer. Throws when something stays.
 */
export async function removeContainer(
  { engine, cgroups }: RemovalParts,
  id: string,
  hasEnded: boolean,
  byRuntime: () => Promise<void>,
): Promise<AosError | undefined> {
  const path = cgroupPathOf(id);
  if (hasEnded && removeEmptyCgroup(cgroups, path)) {
    await engine.forget(id);
    return undefined;
  }
  try {
    await byRuntime();
    return undefined;
  } catch (error) {
    const complaint = asAosError(error);
    cgroups.kill(path);
    const deadline = performance.now() + EMPTY_MS;
    while (cgroups.processes(path).length > 0 && performance.now() < deadline) await setTimeout(EMPTY_PAUSE_MS);
    cgroups.remove(path);
    await engine.forget(id);
    return complaint;
  }
}

/** False: somebody is in it, or the kernel holds it; the runtime knows how to wait for that. */
function removeEmptyCgroup(cgroups: Cgroups, path: string): boolean {
  if (cgroups.processes(path).length > 0) return false;
  try {
    cgroups.remove(path);
    return true;
  } catch {
    return false;
  }
}
