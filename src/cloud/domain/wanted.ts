/** What should run on a unit: from its own deployments, the subscriptions of its subjects, and campaigns. Pure. */
import { compareVersions } from '../../core/index.ts';
import type { Deployment } from '../store/deployments.ts';
import type { Subject, Subscription } from '../store/subjects.ts';

/** One item for one subject, and why. */
export interface Wanted extends Deployment {
  /** For a person who asks why the unit is to have this, in this version. */
  readonly because: string;
}

export interface WantedFacts {
  /** What was asked for on this very unit. */
  readonly deployments: readonly Deployment[];
  /** Subjects that the unit is assigned to. */
  readonly subjects: readonly { readonly subject: Subject; readonly subscriptions: readonly Subscription[] }[];
  /** Versions that campaigns have brought to the unit, by item. */
  readonly releases: ReadonlyMap<string, string>;
  /** Of a unit for verification: the highest version of each item that was not rejected. */
  readonly newest: ReadonlyMap<string, string>;
}

interface Choice {
  readonly version: string;
  /** When it is not simply the version of the subscription. */
  readonly because?: string;
}

/**
 * A unit has one version of an item (instances name items without a version). It is that of the unit's own deployment,
 * else the newest on a unit for verification, else what a campaign has brought, else the highest that a subject has
 * subscribed to. A deployment takes the place of a subscription of the same item and subject.
 */
export function planWanted(facts: WantedFacts): Wanted[] {
  const { deployments, subjects } = facts;
  const versions = new Map<string, Choice>();
  const versionOf = (itemId: string): Choice => {
    const known = versions.get(itemId) ?? chooseVersion(facts, itemId);
    versions.set(itemId, known);
    return known;
  };
  const own = deployments.map((deployment) => ({ ...deployment, because: 'deployed on this unit' }));
  const taken = new Set(own.map(keyOf));
  const subscribed = subjects.flatMap(({ subject, subscriptions }) =>
    subscriptions.map((subscription): Wanted => {
      const { version, because } = versionOf(subscription.itemId);
      return {
        ...{ itemId: subscription.itemId, version, subject: subject.id, numInstances: subscription.numInstances },
        ...{ priority: subscription.priority ?? subject.priority, labels: subscription.labels },
        because:
          because === undefined
            ? `subscribed by subject ${subject.id}`
            : `subscribed by subject ${subject.id}; ${because}`,
      };
    }),
  );
  return [...own, ...subscribed.filter((wanted) => !taken.has(keyOf(wanted)))];
}

const keyOf = ({ itemId, subject }: Deployment): string => JSON.stringify([itemId, subject]);

function chooseVersion({ deployments, subjects, releases, newest }: WantedFacts, itemId: string): Choice {
  const deployed = deployments.find((deployment) => deployment.itemId === itemId);
  if (deployed) return { version: deployed.version, because: 'its version is that of the deployment on this unit' };
  const subscribed = subjects
    .flatMap(({ subscriptions }) => subscriptions.filter((entry) => entry.itemId === itemId))
    .map(({ version }) => version)
    .reduce((a, b) => (compareVersions(a, b) >= 0 ? a : b));
  const fresh = newest.get(itemId);
  if (fresh !== undefined) return { version: fresh, because: 'this unit verifies the newest version' };
  const released = releases.get(itemId);
  if (released !== undefined) return { version: released, because: 'a campaign brought this version' };
  return { version: subscribed };
}
