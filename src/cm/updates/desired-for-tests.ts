/** Desired states and what a unit reports, in few words. For tests. */
import type { InstanceState, ItemState } from '../../core/index.ts';
import { digestOf } from '../../core/index.ts';
import type { DesiredStatus } from '../../protocol/index.ts';
import type { InstanceStatus, ItemStatus } from '../model.ts';

export type Versions = Readonly<Record<string, string>>;

/** One instance of each named service, in the named version. */
export function desiredStatus(versions: Versions, more: Partial<DesiredStatus> = {}): DesiredStatus {
  const names = Object.entries(versions);
  return {
    messageType: 'desiredStatus',
    items: names.map(([id, version]) => ({
      item: { id, type: 'service' },
      version,
      owner: { id: 'owner' },
      indexDigest: digestOf(`${id} ${version}`),
    })),
    instances: names.map(([id]) => ({
      item: { id },
      subject: { id: 'subject' },
      priority: 0,
      numInstances: 1,
      labels: [],
    })),
    subjects: [{ identity: { id: 'subject' }, type: 'group', isReportedFromUnit: false }],
    certificates: [],
    certificateChains: [],
    ...more,
  };
}

export function itemStatus(itemId: string, version: string, state: ItemState = 'installed'): ItemStatus {
  return { itemId, type: 'service', version, state };
}

export function instanceStatus(
  itemId: string,
  version: string,
  state: InstanceState = 'active',
  more: Partial<InstanceStatus['ident']> = {},
): InstanceStatus {
  return {
    ident: { itemId, subjectId: 'subject', instance: 0, type: 'service', preinstalled: false, ...more },
    version,
    nodeId: 'main',
    runtimeId: 'runtime',
    manifestDigest: digestOf(`${itemId} ${version} manifest`),
    state,
  };
}

/** What a unit reports on which everything is as desired. */
export function settledFacts(versions: Versions) {
  const names = Object.entries(versions);
  return {
    items: names.map(([id, version]) => itemStatus(id, version)),
    instances: names.map(([id, version]) => instanceStatus(id, version)),
  };
}
