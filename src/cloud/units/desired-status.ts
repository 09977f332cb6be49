/** What a unit is told to become (spec/cloud-protocol.md 8.3, spec/decisions.md 7.8). Pure. */
import { compareVersions, isAosError } from '../../core/index.ts';
import type { DesiredStatus } from '../../protocol/index.ts';
import type { UnitPicture } from '../model/unit-picture.ts';
import type { Deployment } from '../store/deployments.ts';
import type { PublishedItem, SigningChain } from '../store/items.ts';
import type { Subject } from '../store/subjects.ts';
import type { UnitWishes } from '../store/units.ts';

export interface DesiredFacts {
  /** Several may be of one item, for different subjects; they have one version. */
  readonly deployments: readonly Deployment[];
  /** Subjects that the cloud knows more of than their name. */
  readonly subjects: readonly Pick<Subject, 'id' | 'type' | 'reported'>[];
  /** The published version of each deployment. */
  readonly items: readonly PublishedItem[];
  readonly wishes: UnitWishes;
  readonly picture: UnitPicture;
  readonly chains: readonly SigningChain[];
}

/**
 * The complete wanted state. Sections about items are always there, in full: to 9.1 an absent one means that all is to
 * be removed. `nodes` and `unitConfig` are there only when they change something: each of them starts an update.
 */
export function planDesiredStatus(facts: DesiredFacts): DesiredStatus {
  const { deployments, items, wishes, picture, chains, subjects } = facts;
  const wanted = deployments.flatMap((deployment) => {
    const item = items.find(({ id, version }) => id === deployment.itemId && version === deployment.version);
    return item ? [{ deployment, item }] : [];
  });
  const nodes = nodesToChange(wishes, picture);
  const unitConfig = newerUnitConfig(wishes, picture);
  const certificates = new Map(
    chains.flatMap((chain) => chain.certificates).map((entry) => [entry.fingerprint, entry] as const),
  );
  return {
    messageType: 'desiredStatus',
    ...(nodes.length > 0 && { nodes }),
    ...(unitConfig && { unitConfig: unitConfig as NonNullable<DesiredStatus['unitConfig']> }),
    items: [...new Set(wanted.map(({ item }) => item))].map((item) => ({
      item: { id: item.id, type: item.type },
      version: item.version,
      owner: { id: item.owner },
      indexDigest: item.indexDigest,
    })),
    instances: wanted.map(({ deployment }) => ({
      item: { id: deployment.itemId },
      subject: { id: deployment.subject },
      priority: deployment.priority,
      numInstances: deployment.numInstances,
      labels: [...deployment.labels],
    })),
    subjects: [...new Set(deployments.map((deployment) => deployment.subject))].map((id) => {
      const known = subjects.find((subject) => subject.id === id);
      return { identity: { id }, type: known?.type ?? 'group', isReportedFromUnit: known?.reported ?? false };
    }),
    certificates: [...certificates.values()],
    certificateChains: chains.map(({ name, certificates }) => ({
      name,
      fingerprints: certificates.map(({ fingerprint }) => fingerprint),
    })),
  };
}

/** Nodes that are to be paused or resumed: those whose reported state is another one than the wanted. */
export function nodesToChange(
  { nodeStates }: UnitWishes,
  picture: UnitPicture,
): NonNullable<DesiredStatus['nodes']>[number][] {
  return (picture.nodes ?? []).flatMap(({ identity, state }) => {
    const wanted = nodeStates[identity.codename];
    const changes = wanted !== undefined && wanted !== state && (state === 'provisioned' || state === 'paused');
    return changes ? [{ item: { codename: identity.codename }, state: wanted }] : [];
  });
}

/** The wanted unit configuration, unless the unit has it, a newer one, or has refused this very version. */
function newerUnitConfig({ unitConfig }: UnitWishes, picture: UnitPicture): UnitWishes['unitConfig'] {
  if (!unitConfig) return undefined;
  const reported = (picture.unitConfig ?? []).flatMap(({ version }) => (version ? [version] : []));
  return reported.some((version) => !isHigher(unitConfig.version, version)) ? undefined : unitConfig;
}

function isHigher(version: string, than: string): boolean {
  try {
    return compareVersions(version, than) > 0;
  } catch (error) {
    // Whatever the unit has: it is not what is wanted.
    if (isAosError(error, 'invalidArgument')) return true;
    throw error;
  }
}
