/** What the launcher keeps of an instance in one version (spec/cm.md 4.2). */
import { type InstanceIdent, instanceKey } from '../../core/index.ts';
import type { AlertRules } from '../../oci/index.ts';

/**
 * `active`: shall run. `cached`: ran before; kept so that its data is found again. `disabled`: its unit subject is
 * absent.
 */
export type RowState = 'active' | 'cached' | 'disabled';

export interface InstanceRow {
  readonly ident: InstanceIdent;
  readonly version: string;
  readonly ownerId: string;
  readonly subjectType: 'group' | 'user';
  readonly isUnitSubject: boolean;
  readonly priority: number;
  readonly labels: readonly string[];
  readonly state: RowState;
  /** Empty while it has no place. */
  readonly nodeId: string;
  readonly prevNodeId: string;
  readonly runtimeId: string;
  readonly manifestDigest: string;
  readonly uid: number;
  readonly gid: number;
  /** When it was created or cached; milliseconds since the epoch. */
  readonly stampedAtMs: number;
  /** May run only at its node and runtime: one copy of a component that runs wherever it fits. */
  readonly isPinned: boolean;
  /** As sent to the SM; kept, so that the same instance is described by the same bytes after a restart. */
  readonly storagePath: string;
  readonly statePath: string;
  readonly alertRules?: AlertRules | undefined;
  /** Why it is where it is, for people. */
  readonly because: string;
}

/** Equal for the same instance in the same version. */
export function rowKey(row: { readonly ident: InstanceIdent; readonly version: string }): string {
  return `${instanceKey(row.ident)}${row.version}`;
}
