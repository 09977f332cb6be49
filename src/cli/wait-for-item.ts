/** Deployments at the cloud, and waiting until a unit has made them true. */
import { AosError } from '../core/index.ts';
import { type CloudUnit, instancesOf, itemsOf } from './cloud-views.ts';
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

/** The call about the deployment of an item to a unit. */
export const deploymentPath = (unit: string, itemId: string) =>
  `/api/units/${encodeURIComponent(unit)}/deployments/${encodeURIComponent(itemId)}`;

/** Waits until the unit reports what was asked for, or reports that it failed: so long since `startedMs`. */
export async function waitUntil(
  context: Context,
  seconds: number,
  what: string,
  isDone: (unit: CloudUnit) => boolean,
  startedMs = performance.now(),
): Promise<void> {
  const leftMs = Math.max(0, Math.round(seconds * 1000 - (performance.now() - startedMs)));
  const done = await followUnit(context, leftMs, (unit) => {
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

/**
 * Failures of an item and its instances, in words, by what they are about. A unit tells what has changed some seconds
 * later, and a cloud holds what was true when it was last told.
 */
export type Failures = Map<string, string>;

/** What is wrong with an item before a deployment changes it. Such a failure does not end the wait for it at once. */
export async function failuresBefore(context: Context, itemId: string): Promise<Failures> {
  return failuresOf(await context.cloud.get<CloudUnit>(`/api/units/${encodeURIComponent(context.unit)}`), itemId);
}

/** How long the unit has to take back a failure that is older than the deployment. */
const OLD_FAILURE_S = 30;

/** Waits until a deployment runs as it is wanted. A failure that was there `before` counts when it stays. */
export async function waitUntilActive(
  context: Context,
  seconds: number,
  { itemId, version, numInstances }: Pick<Deployment, 'itemId' | 'version' | 'numInstances'>,
  before: Failures = new Map(),
  oldFailureSeconds = OLD_FAILURE_S,
): Promise<void> {
  const count = numInstances === 0 ? '' : `${numInstances} instance(s) of `;
  context.output.note(`waiting for ${count}${itemId} ${version} on ${context.unit}`);
  const what = `${itemId} ${version} becoming active`;
  const startedMs = performance.now();
  const old = new Map(before);
  const isThere = (unit: CloudUnit) => isActive(unit, { itemId, version, numInstances }, old);
  if (old.size > 0) {
    let isDone = false;
    await followUnit(context, Math.min(seconds, oldFailureSeconds) * 1000, (unit) => {
      context.output.progress(`${what}: ${stateOf(unit)}`);
      isDone = isThere(unit);
      return isDone || old.size === 0;
    });
    if (isDone) return;
    for (const words of old.values()) throw new AosError('failed', words);
  }
  await waitUntil(context, seconds, what, isThere, startedMs);
}

/**
 * All wanted instances of this version are active, and no more, and no other version is there; a failed one ends the
 * wait, unless it is one of `old`: these are forgotten as soon as they are gone. A count of 0 means none of a service, and
 * of a component one on each runtime that fits: at least one is waited for.
 */
function isActive(
  unit: CloudUnit,
  { itemId, version, numInstances }: Pick<Deployment, 'itemId' | 'version' | 'numInstances'>,
  old: Failures,
): boolean {
  const failures = failuresOf(unit, itemId, version);
  for (const [name, words] of old) if (failures.get(name) !== words) old.delete(name);
  for (const [name, words] of failures) if (!old.has(name)) throw new AosError('failed', words);
  const instances = instancesOf(unit).filter((instance) => instance.itemId === itemId);
  const active = instances.filter((instance) => instance.version === version && instance.state === 'active');
  const others = instances.filter((instance) => instance.version !== version && instance.state === 'active');
  const isService = unit.items?.some(({ item }) => item.id === itemId && item.type === 'service') ?? false;
  const isNone = instances.every(({ state }) => state === 'inactive');
  const isEnough = numInstances > 0 ? active.length === numInstances : isService ? isNone : active.length > 0;
  return isEnough && others.length === 0;
}

/** Without a version those of all. */
function failuresOf(unit: CloudUnit, itemId: string, only?: string): Failures {
  const isMeant = (one: { readonly itemId: string; readonly version: string; readonly state: string }) =>
    one.itemId === itemId && one.state === 'failed' && (only === undefined || one.version === only);
  return new Map([
    ...itemsOf(unit)
      .filter(isMeant)
      .map(({ version, error }): [string, string] => [
        version,
        `unit ${unit.systemId} could not install ${itemId} ${version}: ${error?.message ?? 'no reason given'}`,
      ]),
    ...instancesOf(unit)
      .filter(isMeant)
      .map(({ version, subjectId, instance, error }): [string, string] => [
        `${version} ${subjectId}/${instance}`,
        `instance ${instance} of ${itemId} ${version} failed: ${error?.message ?? 'no reason given'}`,
      ]),
  ]);
}
