/** What would come of a desired status (spec/beyond.md P-11): the plans of the update manager and the launcher. Pure. */
import { type InstanceIdent, instanceName } from '../../core/index.ts';
import type { PlannedInstance, PlanReport } from '../../daemon/index.ts';
import type { Placement } from '../launcher/index.ts';
import type { InstanceStatus, ItemStatus } from '../model.ts';
import type { Desired, UpdateDecision } from '../updates/index.ts';

export interface PlanFacts {
  readonly wanted: Desired;
  readonly decision: UpdateDecision;
  readonly placements: readonly Placement[];
  readonly items: readonly ItemStatus[];
  readonly instances: readonly InstanceStatus[];
}

const BECAUSE = {
  nothing: 'the unit is as the desired status says, or on its way to it',
  remember: 'only certificates for later checks differ',
} as const;

export function planReport(facts: PlanFacts): PlanReport {
  const { wanted, decision, items } = facts;
  const isThere = ({ itemId, version }: { readonly itemId: string; readonly version: string }) =>
    items.some((row) => row.itemId === itemId && row.version === version && hasBlobs(row));
  const named = wanted.items.map(({ item, version }) => ({ itemId: item.id, version }));
  const isWanted = (row: ItemStatus) =>
    named.some(({ itemId, version }) => itemId === row.itemId && version === row.version);
  const { refusals } = wanted;
  return {
    decision: decision.do,
    because: decision.do === 'start' ? decision.because : BECAUSE[decision.do],
    download: named.filter((one) => !isThere(one)),
    remove: items
      .filter((row) => row.state === 'installed' && !isWanted(row))
      .map(({ itemId, version }) => ({ itemId, version })),
    refused: [
      ...(refusals?.items ?? []).map(({ itemId, version, error }) => `item ${itemId} ${version}: ${error.message}`),
      ...(refusals?.instances ?? []).map(
        ({ itemId, subjectId, error }) => `instances of ${itemId} for ${subjectId}: ${error.message}`,
      ),
    ],
    instances: [...plannedInstances(facts, isThere), ...stoppedInstances(facts)],
  };
}

/** A removed item still lies on the disk. */
function hasBlobs({ state }: ItemStatus): boolean {
  return state === 'installed' || state === 'pending' || state === 'removed';
}

function plannedInstances(
  { placements, instances }: PlanFacts,
  isThere: (item: { readonly itemId: string; readonly version: string }) => boolean,
): PlannedInstance[] {
  return placements.map((placement): PlannedInstance => {
    const { ident, version } = placement.wanted;
    const now = instances.find((one) => isSameInstance(one.ident, ident));
    const { because, notChosen } = placement;
    const about = { name: instanceName(ident), version };
    if (!isThere({ itemId: ident.itemId, version })) {
      const wait = now && now.nodeId !== '' ? `; version ${now.version} goes on meanwhile` : '';
      return { ...about, do: 'later', because: `the image must be downloaded first${wait}`, notChosen: [] };
    }
    if (!placement.place) return { ...about, do: 'fail', because, notChosen };
    const planned = { ...about, ...placement.place, because, notChosen };
    if (!now || now.nodeId === '') return { ...planned, do: 'start' };
    if (now.nodeId !== placement.place.nodeId) return { ...planned, do: 'move', from: now.nodeId };
    const isSame =
      now.version === version &&
      now.runtimeId === placement.place.runtimeId &&
      now.manifestDigest === placement.manifestDigest;
    return { ...planned, do: isSame ? 'keep' : 'update' };
  });
}

function stoppedInstances({ placements, instances }: PlanFacts): PlannedInstance[] {
  return instances
    .filter(({ ident }) => !ident.preinstalled && !placements.some(({ wanted }) => isSameInstance(wanted.ident, ident)))
    .map(({ ident, version, nodeId }) => ({
      name: instanceName(ident),
      version,
      do: 'stop',
      ...(nodeId !== '' && { nodeId }),
      because: 'the desired status does not ask for it',
      notChosen: [],
    }));
}

function isSameInstance(a: InstanceIdent, b: InstanceIdent): boolean {
  return (
    a.itemId === b.itemId &&
    a.subjectId === b.subjectId &&
    a.instance === b.instance &&
    a.preinstalled === b.preinstalled
  );
}
