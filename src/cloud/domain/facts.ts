/** Reads what the plans of a unit are made from. */
import { compareVersions } from '../../core/index.ts';
import type { Stores } from '../store/stores.ts';
import type { WantedConfig } from '../store/target-configs.ts';
import { planWanted, type Wanted, type WantedFacts } from './wanted.ts';

/** What should run on a unit. */
export async function wantedOn(stores: Stores, systemId: string): Promise<Wanted[]> {
  const { deployments, subjects, campaigns, unitSets } = stores;
  const verifies = (await unitSets.ofUnit(systemId)).some(({ verification }) => verification);
  const assigned: WantedFacts['subjects'][number][] = [];
  for (const subject of await subjects.ofUnit(systemId)) {
    assigned.push({ subject, subscriptions: await subjects.subscriptions(subject.id) });
  }
  return planWanted({
    deployments: await deployments.list(systemId),
    subjects: assigned,
    releases: await campaigns.releases(systemId),
    newest: verifies
      ? await newestVersions(
          stores,
          assigned.flatMap(({ subscriptions }) => subscriptions),
        )
      : new Map(),
  });
}

/** The configuration that a unit should have: its own, else that of a unit set, else that of its model; and whose it is. */
export async function wantedConfig(
  stores: Stores,
  systemId: string,
): Promise<{ readonly config: WantedConfig; readonly from: string } | undefined> {
  const own = (await stores.units.wishes(systemId)).unitConfig;
  if (own) return { config: own, from: 'this unit' };
  const targets = await stores.targetConfigs.list();
  const unit = await stores.units.find(systemId);
  const names = [
    ...(await stores.unitSets.ofUnit(systemId)).map(({ name }) => `set:${name}`),
    ...(unit ? [`model:${unit.modelName}`] : []),
  ];
  for (const name of names) {
    const found = targets.find(({ target }) => target === name);
    if (found) return { config: found.config, from: name };
  }
  return undefined;
}

async function newestVersions(
  stores: Stores,
  subscribed: readonly { readonly itemId: string }[],
): Promise<Map<string, string>> {
  const newest = new Map<string, string>();
  for (const { itemId } of subscribed) {
    const versions = (await stores.items.versions(itemId))
      .filter(({ verification }) => verification !== 'rejected')
      .map(({ version }) => version)
      .sort(compareVersions);
    const last = versions.at(-1);
    if (last !== undefined) newest.set(itemId, last);
  }
  return newest;
}
