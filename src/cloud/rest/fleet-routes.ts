/** Groups of units, subjects with their subscriptions, unit configurations of many units. */
import * as z from 'zod';
import { AosError, compareVersions, readDocument } from '../../core/index.ts';
import { UnitConfig } from '../../protocol/index.ts';
import { type Actor, fleetOf, seesFleet } from '../access/roles.ts';
import { deployableItem } from '../domain/deployable-item.ts';
import type { Stores } from '../store/stores.ts';
import type { Subject, Subscription } from '../store/subjects.ts';
import type { UnitSet } from '../store/unit-sets.ts';
import type { UnitRow } from '../store/units.ts';
import { pageOf } from './paging.ts';
import type { RestParts } from './parts.ts';
import type { Call, Router } from './router.ts';
import { type SubjectView, subjectView } from './subject-view.ts';

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

/** Throws `wrongState`: whoever operates a fleet would reach a unit of another one. */
function mustBeOfFleet({ systemId, fleet }: UnitRow, what: string, wanted: string): void {
  if (wanted === '' || fleet === wanted) return;
  const where = fleet === '' ? 'in no fleet' : `in fleet "${fleet}"`;
  throw new AosError('wrongState', `unit ${systemId} is ${where}, ${what} is for units of fleet "${wanted}"`);
}

function unitSetRoutes(router: Router, { database, fleet }: RestParts): void {
  router.on('GET', '/api/unit-sets', async (call) => {
    const all = await database.read(({ unitSets }) => unitSets.list());
    const seen = all.filter((set) => seesFleet(call.actor, set.fleet));
    return { status: 200, value: pageOf(call, seen, ({ name }) => name) };
  });

  router.on(
    'PUT',
    '/api/unit-sets/:set',
    async (call) => {
      const value = await call.read(UnitSetRequest, 'the unit set');
      const name = readDocument(Name, call.param('set'), { what: 'the name of the set' }).value;
      const { former, stored } = await database.write(async ({ unitSets, units }) => {
        const known = await unitSets.find(name);
        if (known) mustSee(call.actor, `unit set "${name}"`, known);
        const set: UnitSet = {
          ...{ name, fleet: fleetOf(call.actor, value.fleet ?? known?.fleet) },
          ...{ verification: value.verification, units: value.units },
        };
        for (const systemId of value.units) {
          const unit = mustSee(call.actor, `unit "${systemId}"`, await units.get(systemId));
          mustBeOfFleet(unit, `unit set "${name}"`, set.fleet);
        }
        await unitSets.put(set);
        return { former: known, stored: await unitSets.get(name) };
      }, 'cloud.unit-set');
      for (const systemId of new Set([...(former?.units ?? []), ...stored.units])) fleet.desiredChanged(systemId);
      return { status: former ? 200 : 201, value: stored };
    },
    UnitSetRequest,
  );

  router.on('DELETE', '/api/unit-sets/:set', async (call) => {
    const members = await database.write(async ({ campaigns, unitSets }) => {
      const set = await unitSets.get(call.param('set'));
      const { name, units } = mustSee(call.actor, `unit set "${set.name}"`, set);
      const campaign = (await campaigns.running()).find(({ stages }) => stages.includes(name));
      if (campaign) throw new AosError('wrongState', `campaign ${campaign.id} goes to "${name}"; stop it first`);
      await unitSets.delete(name);
      return units;
    });
    for (const systemId of members) fleet.desiredChanged(systemId);
    return { status: 204 };
  });
}

async function subjectOf({ subjects }: Stores, call: Call): Promise<Subject> {
  const id = call.param('subject');
  return mustSee(call.actor, `subject "${id}"`, await subjects.get(id));
}

function subjectRoutes(router: Router, parts: RestParts): void {
  const { database, fleet, events } = parts;
  const changed = (systemIds: readonly string[], subject: string) => {
    for (const systemId of systemIds) {
      events.publish(systemId, 'subjects', { subject });
      fleet.desiredChanged(systemId);
    }
  };

  router.on('GET', '/api/subjects', async (call) => {
    const value = await database.read(async (stores) => {
      const seen = (await stores.subjects.list()).filter((subject) => seesFleet(call.actor, subject.fleet));
      const views: SubjectView[] = [];
      for (const subject of pageOf(call, seen, ({ id }) => id)) views.push(await subjectView(stores, subject));
      return views;
    });
    return { status: 200, value };
  });

  router.on('GET', '/api/subjects/:subject', async (call) => ({
    status: 200,
    value: await database.read(async (stores) => subjectView(stores, await subjectOf(stores, call))),
  }));

  router.on(
    'PUT',
    '/api/subjects/:subject',
    async (call) => {
      const value = await call.read(SubjectRequest, 'the subject');
      const { value: id } = readDocument(Name, call.param('subject'), { what: 'the id of the subject' });
      const { isNew, view } = await database.write(async (stores) => {
        const former = await stores.subjects.find(id);
        if (former) mustSee(call.actor, `subject "${id}"`, former);
        if (former && value.type !== undefined && value.type !== former.type) {
          throw new AosError('wrongState', `subject "${id}" is a ${former.type}; make a new one`);
        }
        const subject: Subject = {
          id,
          type: former?.type ?? value.type ?? 'group',
          title: value.title ?? former?.title ?? id,
          fleet: former?.fleet ?? fleetOf(call.actor, value.fleet),
          priority: value.priority ?? former?.priority ?? 0,
          reported: value.reported ?? former?.reported ?? false,
        };
        await stores.subjects.put(subject);
        return { isNew: !former, view: await subjectView(stores, subject) };
      });
      changed(view.units, id);
      return { status: isNew ? 201 : 200, value: view };
    },
    SubjectRequest,
  );

  router.on('DELETE', '/api/subjects/:subject', async (call) => {
    const { id, units } = await database.write(async (stores) => {
      const view = await subjectView(stores, await subjectOf(stores, call));
      await stores.subjects.delete(view.id);
      return view;
    });
    changed(units, id);
    return { status: 204 };
  });

  router.on('PUT', '/api/subjects/:subject/units/:unit', async (call) => {
    const { touched, view } = await database.write(async (stores) => {
      const subject = await subjectOf(stores, call);
      const unit = await stores.units.get(call.param('unit'));
      mustBeOfFleet(unit, `subject "${subject.id}"`, subject.fleet);
      const { systemId } = unit;
      const { left, from } = await stores.subjects.assign(subject, systemId);
      // One that comes back finds its states where it has left them.
      if (from !== undefined && from !== systemId) await stores.states.takeAlong(subject.id, from, systemId);
      return { touched: [...left, systemId], view: await subjectView(stores, subject) };
    }, 'cloud.subject-unit');
    changed(touched, view.id);
    return { status: 200, value: view };
  });

  router.on('DELETE', '/api/subjects/:subject/units/:unit', async (call) => {
    const { id, systemId } = await database.write(async (stores) => {
      const subject = await subjectOf(stores, call);
      const unit = await stores.units.get(call.param('unit'));
      if (!(await stores.subjects.withdraw(subject.id, unit.systemId))) {
        throw new AosError('notFound', `subject "${subject.id}" is not assigned to unit ${unit.systemId}`);
      }
      return { id: subject.id, systemId: unit.systemId };
    });
    changed([systemId], id);
    return { status: 204 };
  });
}

function subscriptionRoutes(router: Router, parts: RestParts): void {
  const { database, fleet, events } = parts;
  const changed = (units: readonly string[], subjectId: string, itemId: string, version: string | null) => {
    for (const systemId of units) {
      events.publish(systemId, 'deployment', { itemId, version, subject: subjectId });
      fleet.desiredChanged(systemId);
    }
  };

  router.on(
    'PUT',
    '/api/subjects/:subject/items/:item',
    async (call) => {
      const value = await call.read(SubscriptionRequest, 'the subscription');
      const itemId = call.param('item');
      const { isNew, subscription, view } = await database.write(async (stores) => {
        const subject = await subjectOf(stores, call);
        const former = (await stores.subjects.subscriptions(subject.id)).find((entry) => entry.itemId === itemId);
        const newest = (await stores.items.versions(itemId))
          .filter(({ verification }) => verification === 'valid')
          .map(({ version }) => version)
          .sort(compareVersions)
          .at(-1);
        const version = value.version ?? former?.version ?? newest;
        if (version === undefined) throw new AosError('notFound', `no valid version of "${itemId}" was published`);
        const item = await deployableItem(stores, itemId, version, false);
        const priority = value.priority ?? former?.priority ?? item.defaults.priority;
        const wanted: Subscription = {
          ...{ itemId, version },
          numInstances:
            value.numInstances ??
            former?.numInstances ??
            item.defaults.numInstances ??
            (item.type === 'service' ? 1 : 0),
          ...(priority !== undefined && { priority }),
          labels: value.labels ?? former?.labels ?? item.defaults.labels ?? [],
        };
        await stores.subjects.subscribe(subject.id, wanted);
        return { isNew: !former, subscription: wanted, view: await subjectView(stores, subject) };
      }, 'cloud.subscription');
      changed(view.units, view.id, itemId, subscription.version);
      return { status: isNew ? 201 : 200, value: subscription };
    },
    SubscriptionRequest,
  );

  router.on('DELETE', '/api/subjects/:subject/items/:item', async (call) => {
    const itemId = call.param('item');
    const { id, units } = await database.write(async (stores) => {
      const subject = await subjectOf(stores, call);
      if (!(await stores.subjects.unsubscribe(subject.id, itemId))) {
        throw new AosError('notFound', `subject "${subject.id}" has not subscribed to "${itemId}"`);
      }
      return subjectView(stores, subject);
    });
    changed(units, id, itemId, null);
    return { status: 204 };
  });
}

/** The units that a target stands for. */
async function membersOf({ unitSets, units }: Stores, target: string): Promise<readonly string[]> {
  const name = target.slice(target.indexOf(':') + 1);
  if (target.startsWith('set:')) return (await unitSets.find(name))?.units ?? [];
  return (await units.list()).filter(({ modelName }) => modelName === name).map(({ systemId }) => systemId);
}

function targetConfigRoutes(router: Router, { database, fleet }: RestParts): void {
  router.on('GET', '/api/unit-configs', async () => ({
    status: 200,
    value: await database.read(({ targetConfigs }) => targetConfigs.list()),
  }));

  router.on(
    'PUT',
    '/api/unit-configs/:target',
    async (call) => {
      const target = call.param('target');
      if (!TARGET.test(target)) {
        throw new AosError('invalidArgument', `target "${target}": expected model:<name> or set:<unit set>`);
      }
      const config = await call.read(UnitConfig, 'the unit configuration');
      const members = await database.write(async (stores) => {
        const former = (await stores.targetConfigs.find(target))?.version;
        if (former !== undefined && compareVersions(config.version, former) <= 0) {
          throw new AosError(
            'wrongState',
            `version ${config.version} is not higher than ${former}, which is wanted now`,
          );
        }
        await stores.targetConfigs.put(target, config);
        return membersOf(stores, target);
      });
      for (const systemId of members) fleet.desiredChanged(systemId);
      return { status: 200, value: { target, config } };
    },
    UnitConfig,
  );

  router.on('DELETE', '/api/unit-configs/:target', async (call) => {
    const target = call.param('target');
    const members = await database.write(async (stores) => {
      if (!(await stores.targetConfigs.delete(target))) {
        throw new AosError('notFound', `there is no unit configuration for ${target}`);
      }
      return membersOf(stores, target);
    });
    for (const systemId of members) fleet.desiredChanged(systemId);
    return { status: 204 };
  });
}
