/** What runs already when the service manager starts is taken over, not started again (spec/decisions.md 5.6). */
import { AosError, instanceKey } from '../../core/index.ts';
import type { InstalledItem, InstanceInfo } from '../model.ts';
import type { InstanceRunner, ItemOutcome } from './instance-runner.ts';
import type { Networks, Runtime } from './parts.ts';
import type { StatusBoard } from './status-board.ts';

export interface AdoptionParts {
  readonly runner: InstanceRunner;
  readonly runtimes: readonly Runtime[];
  readonly networks: Networks;
  readonly board: StatusBoard;
}

/** Answers those of the launched instances that are there still; everything else of ours on the node is removed. */
export async function adoptInstances(
  launched: readonly InstanceInfo[],
  items: ReadonlyMap<string, ItemOutcome>,
  { runner, runtimes, networks, board }: AdoptionParts,
  signal: AbortSignal,
): Promise<InstanceInfo[]> {
  const byKey = new Map(launched.map((info) => [instanceKey(info.ident), info]));
  const present = new Map<string, InstalledItem>();
  for (const [key, item] of items) {
    if (item instanceof AosError) continue;
    present.set(key, item);
    runner.items.set(key, item);
  }
  const requests = launched.flatMap((info) => {
    const item = present.get(instanceKey(info.ident));
    return item && info.ident.type === 'service' ? [{ info, item }] : [];
  });
  await runner.attempt('adopt networks', () => networks.adopt(requests, signal));
  const adopted: InstanceInfo[] = [];
  for (const runtime of runtimes) {
    const known = launched.filter(({ runtimeId }) => runtimeId === runtime.runtimeId);
    const found = await runner.attempt('adopt containers', () => runtime.adopt(known, present, signal));
    for (const { ident, state, error, because } of found ?? []) {
      const info = byKey.get(instanceKey(ident));
      if (!info) continue;
      runner.running.set(instanceKey(ident), info);
      board.set(info, state, because, error);
      adopted.push(info);
    }
  }
  return adopted;
}
