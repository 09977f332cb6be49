/** What a round decided about instances, for people (spec/beyond.md P-03). Pure. */
import { type InstanceIdent, instanceName } from '../../core/index.ts';
import { type InstanceRow, rowKey } from './instance-row.ts';
import type { Shortage } from './model.ts';
import type { Schedule } from './schedule.ts';

export interface Decision {
  /** It has no place because of a resource. */
  readonly refused?: (Shortage & { readonly ident: InstanceIdent }) | undefined;
  readonly about: { readonly kind: 'instance'; readonly id: string };
  readonly what: string;
  readonly because: string;
}

/** Nothing about what stays as it was. */
export function decisionsOf(before: readonly InstanceRow[], { active, inactive, unformed }: Schedule): Decision[] {
  const known = new Map(before.map((row) => [rowKey(row), row]));
  const decisions: Decision[] = [];
  const decide = (ident: InstanceIdent, what: string, because: string, shortage?: Shortage) => {
    const refused = shortage && { refused: { ...shortage, ident } };
    decisions.push({ about: { kind: 'instance', id: instanceName(ident) }, what, because, ...refused });
  };

  for (const { row, error, shortage } of active) {
    const former = known.get(rowKey(row));
    const { nodeId, runtimeId, version, because } = row;
    if (error) {
      if (former?.state === 'active' && former.nodeId === nodeId && former.because === because) continue;
      decide(row.ident, `version ${version} has no place`, because || error.message, shortage);
    } else if (former?.state !== 'active' || former.nodeId !== nodeId || former.runtimeId !== runtimeId) {
      const moves = former?.state === 'active' && former.nodeId !== '' && former.nodeId !== nodeId;
      decide(
        row.ident,
        `version ${version} ${moves ? `moves from ${former.nodeId} to` : 'runs on'} ${nodeId}`,
        because,
      );
    }
  }
  for (const row of inactive) {
    const former = known.get(rowKey(row));
    if (former?.state === 'active') decide(row.ident, `version ${row.version} stops`, row.because);
  }
  for (const { ident, version, error } of unformed)
    decide(ident, `version ${version} cannot be created`, error.message);
  return decisions;
}
