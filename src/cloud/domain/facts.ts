/** Reads what the plans of a unit are made from. */
import { compareVersions } from '../../core/index.ts';
import type { Stores } from '../store/open-stores.ts';
import type { WantedConfig } from '../store/target-configs.ts';
import { planWanted, type Wanted } from './wanted.ts';

/** What should run on a unit. */
export function wantedOn(stores: Stores, systemId: string): Wanted[] {
  const { deployments, subjects, campaigns, unitSets } = stores;
  const verifies = unitSets.ofUnit(systemId).some(({ verification }) => verification);
  const assigned = subjects.ofUnit(systemId).map((subject) => ({
    subject,
    subscriptions: subjects.subscriptions(subject.id),
  }));
  return planWanted({
    deployments: deployments.list(systemId),
    subjects: assigned,
    releases: campaigns.releases(systemId),
    newest: verifies
      ? newestVersions(
          stores,
          assigned.flatMap(({ subscriptions }) => subscriptions),
        )
      : new Map(),
  });
}

/** The configuration that a unit should have: its own, else that of a unit set, else that of its model; and whose it is. */
export function wantedConfig(
  stores: Stores,
  systemId: string,
): { readonly config: WantedConfig; readonly from: string } | undefined {
  const own = stores.units.wishes(systemId).unitConfig;
  if (own) return { config: own, from: 'this unit' };
  const targets = stores.targetConfigs.list();
  const unit = stores.units.find(systemId);
  const names = [
    ...stores.unitSets.ofUnit(systemId).map(({ name }) => `set:${name}`),
    ...(unit ? [`model:${unit.modelName}`] : []),
  ];
  for (const name of names) {
    const found = targets.find(({ target }) => target === name);
    if (found) return { config: found.config, from: name };
  }
  return undefined;
}

function newestVersions(stores: Stores, subscribed: readonly { readonly itemId: string }[]): Map<string, string> {
  const newest = new Map<string, string>();
  for (const { itemId } of subscribed) {
    const versions = stores.items
      .versions(itemId)
      .filter(({ verification }) => verification !== 'rejected')
      .map(({ version }) => version)
      .sort(compareVersions);
    const last = versions.at(-1);
    if (last !== undefined) newest.set(itemId, last);
  }
  return newest;
}
