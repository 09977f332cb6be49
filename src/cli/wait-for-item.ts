/** Deployments at the cloud, and waiting until a unit has made them true. */
import { AosError } from '../core/index.ts';
import { type CloudUnit, instancesOf } from './cloud-views.ts';
import type { Context } from './context.ts';
import { followUnit } from './follow-unit.ts';

export interface Deployment {
  readonly itemId: string;
  readonly version: string;
  readonly subject: string;
  readonly numInstances: number;
  readonly priority: number;
  readonly labels: readonly string[];
}

export const deploymentPath = (unit: string, itemId: string) =>
  `/api/units/${encodeURIComponent(unit)}/deployments/${encodeURIComponent(itemId)}`;

/** Waits until the unit reports what was asked for, or reports that it failed. */
export async function waitUntil(
  context: Context,
  seconds: number,
  what: string,
  isDone: (unit: CloudUnit) => boolean,
): Promise<void> {
  const done = await followUnit(context, seconds * 1000, (unit) => {
    context.output.progress(`${what}: ${stateOf(unit)}`);
    return isDone(unit);
  });
  if (!done)
    throw new AosError(
      'timeout',
      `${what} did not happen within ${seconds} s; "aosctl status --unit ${context.unit}" shows the state`,
    );
}

/** How far a unit is, in a few words. */
function stateOf(unit: CloudUnit): string {
  if (!unit.online) return `${unit.systemId} is offline`;
  const moving = [
    ...(unit.items ?? []).map(({ state }) => state),
    ...instancesOf(unit).map(({ state }) => state),
  ].filter((state) => state !== 'active' && state !== 'installed' && state !== 'removed' && state !== 'inactive');
  return moving.length === 0 ? 'the unit is being told' : [...new Set(moving)].join(', ');
}

/** Waits until a deployment runs as it is wanted. */
export async function waitUntilActive(
  context: Context,
  seconds: number,
  { itemId, version, numInstances }: Pick<Deployment, 'itemId' | 'version' | 'numInstances'>,
): Promise<void> {
  // 0 of a component means one on each runtime that fits: at least one is waited for.
  const count = Math.max(1, numInstances);
  context.output.note(`waiting for ${count} instance(s) of ${itemId} ${version} on ${context.unit}`);
  await waitUntil(context, seconds, `${itemId} ${version} becoming active`, (state) =>
    isActive(state, itemId, version, numInstances),
  );
}

/**
 * All wanted instances of this version are active, and no more, and no other version is there; a failed one ends the
 * wait. A count of 0 means one on each runtime that fits.
 */
function isActive(unit: CloudUnit, itemId: string, version: string, count: number): boolean {
  const item = unit.items?.find((entry) => entry.item.id === itemId && entry.version === version);
  if (item?.state === 'failed') {
    throw new AosError(
      'failed',
      `unit ${unit.systemId} could not install ${itemId} ${version}: ${item.errorInfo?.message ?? 'no reason given'}`,
    );
  }
  const instances = instancesOf(unit).filter((instance) => instance.itemId === itemId);
  const failed = instances.find((instance) => instance.version === version && instance.state === 'failed');
  if (failed) {
    throw new AosError(
      'failed',
      `instance ${failed.instance} of ${itemId} ${version} failed: ${failed.error?.message ?? 'no reason given'}`,
    );
  }
  const active = instances.filter((instance) => instance.version === version && instance.state === 'active');
  const others = instances.filter((instance) => instance.version !== version && instance.state === 'active');
  const isEnough = count === 0 ? active.length > 0 : active.length === count;
  return isEnough && others.length === 0;
}
