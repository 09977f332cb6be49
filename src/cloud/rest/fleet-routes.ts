/** Groups of units, subjects with their subscriptions, unit configurations of many units. */
import * as z from 'zod';
import { AosError, compareVersions, readDocument } from '../../core/index.ts';
import { UnitConfig } from '../../protocol/index.ts';
import { type Actor, fleetOf, seesFleet } from '../access/roles.ts';
import type { Subject } from '../store/subjects.ts';
import type { UnitSet } from '../store/unit-sets.ts';
import { deployableItem } from './deployable-item.ts';
import { pageOf } from './paging.ts';
import type { RestParts } from './parts.ts';
import type { Call, Router } from './router.ts';

const MAX_PRIORITY = 999_999;
const Name = z.string().min(1).max(64);
const UnitSetRequest = z.object({
  fleet: z.string().max(64).optional(),
  verification: z.boolean().default(false),
  units: z.array(Name).max(100_000),
});
const SubjectRequest = z.object({
  type: z.enum(['group', 'user'], 'expected "group" or "user"').optional(),
  title: z.string().max(64).optional(),
  fleet: z.string().max(64).optional(),
  priority: z.int().min(0).max(MAX_PRIORITY).optional(),
  reported: z.boolean().optional(),
});
const SubscriptionRequest = z.object({
  /** Absent: the one that is subscribed, or the newest that is valid. */
  version: z.string().optional(),
  numInstances: z.int().min(0).max(10_000).optional(),
  priority: z.int().min(0).max(MAX_PRIORITY).optional(),
  labels: z.array(Name).max(16).optional(),
});
const TARGET = /^(?:model|set):.{1,64}$/;

export function fleetRoutes(router: Router, parts: RestParts): void {
  unitSetRoutes(router, parts);
  subjectRoutes(router, parts);
  subscriptionRoutes(router, parts);
  targetConfigRoutes(router, parts);
}

/** Throws `notFound`, as if it were not there, for what is not for the caller. */
function mustSee<T extends { readonly fleet: string }>(actor: Actor, what: string, thing: T): T {
  if (seesFleet(actor, thing.fleet)) return thing;
  throw new AosError('notFound', `there is no ${what}`);
}

function unitSetRoutes(router: Router, { stores, fleet }: RestParts): void {
  const { unitSets, units } = stores;

  router.on('GET', '/api/unit-sets', (call) => {
    const seen = unitSets.list().filter((set) => seesFleet(call.actor, set.fleet));
    return { status: 200, value: pageOf(call, seen, ({ name }) => name) };
  });

  router.on(
    'PUT',
    '/api/unit-sets/:set',
    async (call) => {
      const value = await call.read(UnitSetRequest, 'the unit set');
      const name = readDocument(Name, call.param('set'), { what: 'the name of the set' }).value;
      const former = unitSets.find(name);
      if (former) mustSee(call.actor, `unit set "${name}"`, former);
      for (const systemId of value.units) mustSee(call.actor, `unit "${systemId}"`, units.get(systemId));
      const set: UnitSet = {
        ...{ name, fleet: fleetOf(call.actor, value.fleet), verification: value.verification, units: value.units },
      };
      unitSets.put(set);
      for (const systemId of new Set([...(former?.units ?? []), ...set.units])) fleet.desiredChanged(systemId);
      return { status: former ? 200 : 201, value: unitSets.get(name) };
    },
    UnitSetRequest,
  );

  router.on('DELETE', '/api/unit-sets/:set', (call) => {
    const { name, units: members } = mustSee(
      ...([call.actor, `unit set "${call.param('set')}"`, unitSets.get(call.param('set'))] as const),
    );
    const campaign = stores.campaigns.running().find(({ stages }) => stages.includes(name));
    if (campaign) throw new AosError('wrongState', `campaign ${campaign.id} goes to "${name}"; stop it first`);
    unitSets.delete(name);
    for (const systemId of members) fleet.desiredChanged(systemId);
    return { status: 204 };
  });
}

function subjectOf({ stores }: RestParts, call: Call): Subject {
  const id = call.param('subject');
  return mustSee(call.actor, `subject "${id}"`, stores.subjects.get(id));
}

function subjectRoutes(router: Router, parts: RestParts): void {
  const { stores, fleet, events } = parts;
  const { subjects, units } = stores;
  const view = (subject: Subject) => ({
    ...subject,
    units: subjects.units(subject.id),
    items: subjects.subscriptions(subject.id),
  });
  const changed = (systemIds: readonly string[], subject: string) => {
    for (const systemId of systemIds) {
      events.publish(systemId, 'subjects', { subject });
      fleet.desiredChanged(systemId);
    }
  };

  router.on('GET', '/api/subjects', (call) => {
    const seen = subjects.list().filter((subject) => seesFleet(call.actor, subject.fleet));
    return { status: 200, value: pageOf(call, seen, ({ id }) => id).map(view) };
  });

  router.on('GET', '/api/subjects/:subject', (call) => ({ status: 200, value: view(subjectOf(parts, call)) }));

  router.on(
    'PUT',
    '/api/subjects/:subject',
    async (call) => {
      const value = await call.read(SubjectRequest, 'the subject');
      const { value: id } = readDocument(Name, call.param('subject'), { what: 'the id of the subject' });
      const former = subjects.find(id);
      if (former) mustSee(call.actor, `subject "${id}"`, former);
      if (former && value.type !== undefined && value.type !== former.type) {
        throw new AosError('wrongState', `subject "${id}" is a ${former.type}; make a new one`);
      }
      subjects.put({
        id,
        type: former?.type ?? value.type ?? 'group',
        title: value.title ?? former?.title ?? id,
        fleet: former?.fleet ?? fleetOf(call.actor, value.fleet),
        priority: value.priority ?? former?.priority ?? 0,
        reported: value.reported ?? former?.reported ?? false,
      });
      changed(subjects.units(id), id);
      return { status: former ? 200 : 201, value: view(subjects.get(id)) };
    },
    SubjectRequest,
  );

  router.on('DELETE', '/api/subjects/:subject', (call) => {
    const { id } = subjectOf(parts, call);
    const members = subjects.units(id);
    subjects.delete(id);
    changed(members, id);
    return { status: 204 };
  });

  router.on('PUT', '/api/subjects/:subject/units/:unit', (call) => {
    const subject = subjectOf(parts, call);
    const { systemId } = units.get(call.param('unit'));
    const left = subjects.assign(subject, systemId);
    changed([...left, systemId], subject.id);
    return { status: 200, value: view(subject) };
  });

  router.on('DELETE', '/api/subjects/:subject/units/:unit', (call) => {
    const subject = subjectOf(parts, call);
    const { systemId } = units.get(call.param('unit'));
    if (!subjects.withdraw(subject.id, systemId)) {
      throw new AosError('notFound', `subject "${subject.id}" is not assigned to unit ${systemId}`);
    }
    changed([systemId], subject.id);
    return { status: 204 };
  });
}

function subscriptionRoutes(router: Router, parts: RestParts): void {
  const { stores, fleet, events } = parts;
  const { subjects, items } = stores;
  const changed = (subjectId: string, itemId: string, version: string | null) => {
    for (const systemId of subjects.units(subjectId)) {
      events.publish(systemId, 'deployment', { itemId, version, subject: subjectId });
      fleet.desiredChanged(systemId);
    }
  };

  router.on(
    'PUT',
    '/api/subjects/:subject/items/:item',
    async (call) => {
      const value = await call.read(SubscriptionRequest, 'the subscription');
      const subject = subjectOf(parts, call);
      const itemId = call.param('item');
      const former = subjects.subscriptions(subject.id).find((entry) => entry.itemId === itemId);
      const newest = items
        .versions(itemId)
        .filter(({ verification }) => verification === 'valid')
        .map(({ version }) => version)
        .sort(compareVersions)
        .at(-1);
      const version = value.version ?? former?.version ?? newest;
      if (version === undefined) throw new AosError('notFound', `no valid version of "${itemId}" was published`);
      const item = deployableItem(stores, itemId, version, false);
      const priority = value.priority ?? former?.priority ?? item.defaults.priority;
      const subscription = {
        ...{ itemId, version },
        numInstances:
          value.numInstances ?? former?.numInstances ?? item.defaults.numInstances ?? (item.type === 'service' ? 1 : 0),
        ...(priority !== undefined && { priority }),
        labels: value.labels ?? former?.labels ?? item.defaults.labels ?? [],
      };
      subjects.subscribe(subject.id, subscription);
      changed(subject.id, itemId, version);
      return { status: former ? 200 : 201, value: subscription };
    },
    SubscriptionRequest,
  );

  router.on('DELETE', '/api/subjects/:subject/items/:item', (call) => {
    const { id } = subjectOf(parts, call);
    const itemId = call.param('item');
    if (!subjects.unsubscribe(id, itemId)) {
      throw new AosError('notFound', `subject "${id}" has not subscribed to "${itemId}"`);
    }
    changed(id, itemId, null);
    return { status: 204 };
  });
}

function targetConfigRoutes(router: Router, { stores, fleet }: RestParts): void {
  const { targetConfigs, unitSets, units } = stores;
  const tell = (target: string) => {
    const name = target.slice(target.indexOf(':') + 1);
    const members = target.startsWith('set:')
      ? (unitSets.find(name)?.units ?? [])
      : units
          .list()
          .filter(({ modelName }) => modelName === name)
          .map(({ systemId }) => systemId);
    for (const systemId of members) fleet.desiredChanged(systemId);
  };

  router.on('GET', '/api/unit-configs', () => ({ status: 200, value: targetConfigs.list() }));

  router.on(
    'PUT',
    '/api/unit-configs/:target',
    async (call) => {
      const target = call.param('target');
      if (!TARGET.test(target)) {
        throw new AosError('invalidArgument', `target "${target}": expected model:<name> or set:<unit set>`);
      }
      const config = await call.read(UnitConfig, 'the unit configuration');
      const former = targetConfigs.find(target)?.version;
      if (former !== undefined && compareVersions(config.version, former) <= 0) {
        throw new AosError('wrongState', `version ${config.version} is not higher than ${former}, which is wanted now`);
      }
      targetConfigs.put(target, config);
      tell(target);
      return { status: 200, value: { target, config } };
    },
    UnitConfig,
  );

  router.on('DELETE', '/api/unit-configs/:target', (call) => {
    const target = call.param('target');
    if (!targetConfigs.delete(target)) throw new AosError('notFound', `there is no unit configuration for ${target}`);
    tell(target);
    return { status: 204 };
  });
}
