/** Environment variables that the cloud puts over those of an image (spec/cm.md 4.16). Pure. */
import { type InstanceFilter, type InstanceIdent, matchesFilter } from '../../core/index.ts';
import type { EnvVar } from '../nodes/index.ts';

export interface EnvOverride {
  readonly filter: InstanceFilter;
  readonly variables: readonly {
    readonly name: string;
    readonly value: string;
    /** Milliseconds since the epoch; absent: for ever. */
    readonly ttlMs?: number | undefined;
  }[];
}

/** The set without what has expired; entries without variables vanish. Equal input when nothing has. */
export function dropExpired(overrides: readonly EnvOverride[], nowMs: number): readonly EnvOverride[] {
  const isAlive = ({ ttlMs }: EnvOverride['variables'][number]) => ttlMs === undefined || ttlMs >= nowMs;
  return overrides
    .map((override) => ({ ...override, variables: override.variables.filter(isAlive) }))
    .filter(({ variables }) => variables.length > 0);
}

/** The variables of an instance, sorted by name: of several entries with the same name the last counts. */
export function envVarsOf(ident: InstanceIdent, overrides: readonly EnvOverride[]): readonly EnvVar[] {
  const merged = new Map<string, string>();
  for (const { filter, variables } of overrides) {
    if (!matchesFilter(filter, ident)) continue;
    for (const { name, value } of variables) merged.set(name, value);
  }
  return [...merged]
    .map(([name, value]) => ({ name, value }))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}
