/**
 * Going back to the former version of an item by itself, when its author asks for it with `"update": {"rollback": true}`
 * and instances of the new version do not become active (spec/beyond.md P-19, spec/decisions.md CM-12). Pure.
 */
import * as z from 'zod';
import { ERROR_CODES, type ErrorInfo, readDocument } from '../../core/index.ts';
import type { InstanceStatus, ItemStatus } from '../model.ts';
import type { Desired } from './desired-model.ts';

/** A version that was tried in vain. It is not tried again until the desired status names another one. */
export interface RejectedItem {
  readonly itemId: string;
  readonly version: string;
  readonly indexDigest: string;
  readonly error: ErrorInfo;
}

type Content = Pick<RejectedItem, 'itemId' | 'version' | 'indexDigest'>;

export function isSameContent(a: Content, b: Content): boolean {
  return a.itemId === b.itemId && a.version === b.version && a.indexDigest === b.indexDigest;
}

const Update = z.object({ rollback: z.boolean('expected true or false').default(false) });

/** Whether an item configuration's `update` asks for it. Throws `invalidArgument` naming what is wrong. */
export function wantsRollback(update: unknown): boolean {
  return update === undefined || update === null
    ? false
    : readDocument(Update, update, { what: 'update' }).value.rollback;
}

/** Rejected versions that are still wanted. */
export function stillRejected(rejected: readonly RejectedItem[], desired: Desired): readonly RejectedItem[] {
  const kept = rejected.filter((one) =>
    desired.items.some(({ item, version, indexDigest }) =>
      isSameContent(one, { itemId: item.id, version, indexDigest }),
    ),
  );
  return kept.length === rejected.length ? rejected : kept;
}

export interface RollBackFacts {
  readonly items: readonly ItemStatus[];
  readonly instances: readonly InstanceStatus[];
  readonly rejected: readonly RejectedItem[];
  readonly wantsRollback: (itemId: string, version: string) => boolean;
}

export interface RollBack extends RejectedItem {
  /** What takes its place. */
  readonly to: string;
  /** For people: why the instance did not become active, in all words that there are. */
  readonly because: string;
}

/** Wanted versions with an instance that is not active, although a former version is there to go back to. */
export function planRollBack(desired: Desired, facts: RollBackFacts): RollBack[] {
  return desired.items.flatMap(({ item, version, indexDigest }): RollBack[] => {
    const itemId = item.id;
    const former = facts.items.findLast(
      (row) => row.itemId === itemId && row.version !== version && row.state === 'installed',
    );
    if (!former || facts.rejected.some((one) => isSameContent(one, { itemId, version, indexDigest }))) return [];
    const bad = facts.instances.find(
      (one) =>
        one.ident.itemId === itemId &&
        one.version === version &&
        one.ident.type === 'service' &&
        // Without a place it says nothing about the version.
        one.nodeId !== '' &&
        (one.state === 'failed' || one.state === 'activating'),
    );
    if (!bad || !facts.wantsRollback(itemId, version)) return [];
    const error = bad.error ?? { aosCode: ERROR_CODES.timeout, exitCode: 0, message: 'did not become active' };
    const because = bad.reason || error.message || `code ${error.aosCode}`;
    return [{ itemId, version, indexDigest, error, to: former.version, because }];
  });
}

/** Whether instances of a rejected version are still in the places of the former one. */
export function isRollingBack(rejected: readonly RejectedItem[], instances: readonly InstanceStatus[]): boolean {
  return rejected.some(({ itemId, version }) =>
    instances.some((one) => one.ident.itemId === itemId && one.version === version),
  );
}
