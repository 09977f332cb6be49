/** What a request of the CM means for the instances of this node (spec/sm.md 4.3). Pure. */
import { AosError, type InstanceIdent, instanceId, instanceKey, instanceName } from '../../core/index.ts';
import type { InstanceInfo, UpdateRequest } from '../model.ts';

export interface UpdateIntent {
  /** To be wanted from now on, in the order of the request. */
  readonly wanted: readonly InstanceInfo[];
  /** Keys of known instances that are to be removed. */
  readonly unwanted: readonly string[];
  /** Entries that cannot be taken, each with the reason; they change nothing. */
  readonly refused: readonly { readonly info: InstanceInfo; readonly error: AosError }[];
}

/**
 * An instance in neither list is left alone. One in both lists is started: it is wanted, and restarting it is decided
 * by what changed. Of two idents with one instance id the one that is known, else the first, is taken.
 */
export function intendUpdate(request: UpdateRequest, known: readonly InstanceIdent[], limit: number): UpdateIntent {
  const starting = new Map(request.start.map((info) => [instanceKey(info.ident), info]));
  const knownKeys = new Set(known.map(instanceKey));
  const unwanted = [...new Set(request.stop.map(instanceKey))].filter(
    (key) => !starting.has(key) && knownKeys.has(key),
  );

  const leaving = new Set(unwanted);
  const staying = known.filter((ident) => !leaving.has(instanceKey(ident)));
  const keyOfId = new Map(staying.map((ident) => [instanceId(ident), instanceKey(ident)]));
  const wanted: InstanceInfo[] = [];
  const refused: { info: InstanceInfo; error: AosError }[] = [];
  for (const [key, info] of starting) {
    const id = instanceId(info.ident);
    const owner = keyOfId.get(id);
    if (owner !== undefined && owner !== key) {
      const text = `${instanceName(info.ident)} exists already as another type of instance`;
      refused.push({ info, error: new AosError('alreadyExist', text) });
    } else if (owner === undefined && keyOfId.size >= limit) {
      refused.push({ info, error: new AosError('noMemory', `this node takes at most ${limit} instances`) });
    } else {
      keyOfId.set(id, key);
      wanted.push(info);
    }
  }
  return { wanted, unwanted, refused };
}
