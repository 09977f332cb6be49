/** What a node is told to run, and whether it must be told at all (spec/cm.md 4.10, spec/decisions.md 7.2). Pure. */
import { type InstanceIdent, instanceKey } from '../../core/index.ts';
import type { EnvVar, InstanceInfo, ReportedInstance, UpdateInstances } from '../nodes/index.ts';
import type { InstanceRow } from './instance-row.ts';

export interface NodePlanInput {
  /** Active rows of this node, in scheduling order. */
  readonly rows: readonly InstanceRow[];
  /** What the node reported last. */
  readonly reported: readonly ReportedInstance[];
  readonly envVars: (ident: InstanceIdent) => readonly EnvVar[];
}

/** Everything that shall run there, and to be stopped what runs there and shall not. Equal input, equal message. */
export function planUpdate({ rows, reported, envVars }: NodePlanInput): UpdateInstances {
  const wanted = new Set(rows.map(({ ident }) => instanceKey(ident)));
  return {
    start: rows.map((row) => instanceInfo(row, envVars(row.ident))),
    // An instance that only changes is not stopped: its SM restarts what looks different.
    stop: reported
      .filter(({ ident }) => !ident.preinstalled && !wanted.has(instanceKey(ident)))
      .map(({ ident }) => ident),
  };
}

/** The last word to a paused node: all services stop, components stay (spec/decisions.md C-71). */
export function planPause({ rows, reported, envVars }: NodePlanInput): UpdateInstances {
  return {
    start: rows.filter(({ ident }) => ident.type === 'component').map((row) => instanceInfo(row, envVars(row.ident))),
    stop: reported
      .filter(({ ident, state }) => ident.type === 'service' && !ident.preinstalled && state !== 'inactive')
      .map(({ ident }) => ident),
  };
}

/**
 * True when what the node reports by itself is not what it shall run, or may not be: of overridden variables it tells no
 * values, and they may have changed or expired while it or we were away.
 */
export function needsUpdate({ rows, reported, envVars }: NodePlanInput): boolean {
  const running = reported.filter(({ ident, state }) => !ident.preinstalled && state !== 'inactive');
  const byKey = new Map(running.map((instance) => [instanceKey(instance.ident), instance]));
  return (
    running.length !== rows.length ||
    running.some((instance) => instance.envVars.length > 0) ||
    rows.some(({ ident }) => envVars(ident).length > 0) ||
    rows.some((row) => {
      const instance = byKey.get(instanceKey(row.ident));
      return !instance || instance.version !== row.version || instance.runtimeId !== row.runtimeId;
    })
  );
}

function instanceInfo(row: InstanceRow, envVars: readonly EnvVar[]): InstanceInfo {
  return {
    ident: row.ident,
    version: row.version,
    manifestDigest: row.manifestDigest,
    ownerId: row.ownerId,
    runtimeId: row.runtimeId,
    uid: row.uid,
    gid: row.gid,
    priority: row.priority,
    storagePath: row.storagePath,
    statePath: row.statePath,
    envVars,
    ...(row.ident.type === 'service' ? { monitoring: { alertRules: row.alertRules } } : {}),
  };
}
