/** Overrides of environment variables, from the words of the cloud to those of the launcher (spec/cm.md 4.16). Pure. */
import {
  instanceFilter,
  instanceMembers,
  type OverrideEnvVars,
  type OverrideEnvVarsStatus,
  timeOf,
} from '../../protocol/index.ts';
import type { EnvOverride, OverrideReport } from '../launcher/index.ts';

export function overridesOf({ items }: OverrideEnvVars): EnvOverride[] {
  return items.map(({ variables, ...members }) => ({
    filter: instanceFilter(members),
    variables: variables.map(({ name, value, ttl }) => ({
      name,
      value,
      ...(ttl !== undefined && { ttlMs: timeOf(ttl).getTime() }),
    })),
  }));
}

/** What the nodes made of them, in the words of the cloud. */
export function overrideStatusOf(reports: readonly OverrideReport[]): OverrideEnvVarsStatus {
  return {
    messageType: 'overrideEnvVarsStatus',
    statuses: reports.map(({ ident, name, error }) => ({
      ...instanceMembers(ident),
      name,
      ...(error ? { errorInfo: error } : {}),
    })),
  };
}
