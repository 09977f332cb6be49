/** What must change on this node so that what runs becomes what the CM wants (spec/sm.md 4.3). Pure. */
import { isDeepStrictEqual } from 'node:util';
import { instanceKey } from '../../core/index.ts';
import type { InstanceInfo } from '../model.ts';

/** Something that runs, or ran until it failed. */
export interface RunningInstance {
  /** As it was started. */
  readonly info: InstanceInfo;
  /** It does not run any more, or never did. */
  readonly failed: boolean;
}

/** One thing to do to an instance, with the reason that a person reads. */
export interface Step {
  readonly do: 'stop' | 'start' | 'keep';
  readonly info: InstanceInfo;
  readonly because: string;
}

/**
 * Stops come before starts. An instance whose description is equal in every field is kept, not restarted, unless it
 * failed: then it is tried again. `wanted` and `running` each name an instance at most once.
 */
export function planInstances(wanted: readonly InstanceInfo[], running: readonly RunningInstance[]): Step[] {
  const wantedByKey = new Map(wanted.map((info) => [instanceKey(info.ident), info]));
  const runningByKey = new Map(running.map((entry) => [instanceKey(entry.info.ident), entry]));

  const stops = running.flatMap(({ info, failed }): Step[] => {
    const target = wantedByKey.get(instanceKey(info.ident));
    if (!target) return [{ do: 'stop', info, because: 'it is no longer wanted' }];
    const because = whyRestart(info, target, failed);
    return because === undefined ? [] : [{ do: 'stop', info, because }];
  });
  const starts = wanted.flatMap((info): Step[] => {
    const current = runningByKey.get(instanceKey(info.ident));
    if (!current) return [{ do: 'start', info, because: 'it is wanted and does not run' }];
    const because = whyRestart(current.info, info, current.failed);
    return because === undefined ? [] : [{ do: 'start', info, because }];
  });
  const restarted = new Set(starts.map(({ info }) => info));
  const keeps = wanted
    .filter((info) => !restarted.has(info))
    .map((info): Step => ({ do: 'keep', info, because: 'it runs as wanted' }));
  return [...stops, ...starts, ...keeps];
}

function whyRestart(current: InstanceInfo, target: InstanceInfo, failed: boolean): string | undefined {
  const changed = changedFields(current, target);
  if (changed.length > 0) return `its description changed: ${changed.join(', ')}`;
  return failed ? 'it failed and is wanted again' : undefined;
}

/** Names of the fields in which two descriptions of one instance differ. */
export function changedFields(current: InstanceInfo, target: InstanceInfo): string[] {
  const names = new Set([...Object.keys(current), ...Object.keys(target)]) as Set<keyof InstanceInfo>;
  return [...names].filter((name) => !isDeepStrictEqual(current[name], target[name]));
}
