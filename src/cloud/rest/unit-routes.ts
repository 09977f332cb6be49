/** Units: what they are, and what happens to them. */
import * as z from 'zod';
import { AosError } from '../../core/index.ts';
import { seesFleet } from '../access/roles.ts';
import type { Stores } from '../store/stores.ts';
import { actorOf } from './authenticate.ts';
import { endOf, streamEvents } from './event-stream.ts';
import { readLimit } from './limits.ts';
import { pageOf } from './paging.ts';
import type { RestParts } from './parts.ts';
import type { Call, Router } from './router.ts';
import { unitOf } from './unit-of.ts';
import { type UnitView, unitView } from './unit-view.ts';

const FleetRequest = z.object({ fleet: z.string().max(64) });
const MAX_MESSAGES = 10_000;
const DEFAULT_MESSAGES = 100;

export function unitRoutes(router: Router, parts: RestParts): void {
  const { database, fleet, events, access, now, logger } = parts;

  const view = async ({ units }: Stores, systemId: string): Promise<UnitView> =>
    unitView(await units.get(systemId), await units.picture(systemId), fleet.isOnline(systemId));

  router.on('GET', '/api/units', async (call) => {
    const [online, ofFleet, model, part] = ['online', 'fleet', 'model', 'q'].map((name) => call.query(name));
    const value = await database.read(async (stores) => {
      const found = (await stores.units.list())
        .filter(({ fleet }) => seesFleet(call.actor, fleet) && (ofFleet === undefined || fleet === ofFleet))
        .filter(({ modelName }) => model === undefined || modelName === model)
        .filter(({ systemId }) => part === undefined || systemId.includes(part))
        .filter(({ systemId }) => online === undefined || fleet.isOnline(systemId) === (online === 'true'));
      const views: UnitView[] = [];
      for (const { systemId } of pageOf(call, found, (unit) => unit.systemId)) views.push(await view(stores, systemId));
      return views;
    });
    return { status: 200, value };
  });

  router.on('GET', '/api/units/:unit', async (call) => ({
    status: 200,
    value: await database.read(async (stores) => view(stores, await unitOf(stores, call))),
  }));

  router.on('DELETE', '/api/units/:unit', async (call) => {
    const systemId = await database.write(async (stores) => {
      const id = await unitOf(stores, call);
      await stores.certificates.revoke(id, undefined, now());
      await stores.units.delete(id);
      return id;
    });
    fleet.close(systemId, 'the unit was deleted');
    events.publish(systemId, 'deleted');
    logger.info({ systemId }, 'a unit is deleted');
    return { status: 204 };
  });

  router.on(
    'PUT',
    '/api/units/:unit/fleet',
    async (call) => {
      const value = await call.read(FleetRequest, 'the fleet');
      const changed = await database.write(async (stores) => {
        const id = await unitOf(stores, call);
        await mustBeFree(stores, id, value.fleet);
        await stores.units.setFleet(id, value.fleet);
        return view(stores, id);
      });
      access.publish();
      return { status: 200, value: changed };
    },
    FleetRequest,
  );

  router.on('POST', '/api/units/:unit/reset', async (call) => {
    const systemId = await database.write(async (stores) => {
      const id = await unitOf(stores, call);
      await stores.certificates.revoke(id, undefined, now());
      await stores.units.reset(id);
      return id;
    });
    fleet.close(systemId, 'the unit was reset');
    events.publish(systemId, 'reset');
    logger.info({ systemId }, 'a unit is reset; its next registration is taken');
    return { status: 200, value: await database.read((stores) => view(stores, systemId)) };
  });

  const news = { events, access, logger, now };

  /** A user may be deleted, a session end, a unit go to another fleet, while news flow. */
  const isStill = async ({ request, actor }: Call, systemId?: string): Promise<boolean> => {
    const same = await actorOf(request, database, now());
    if (same?.name !== actor.name || same.role !== actor.role || same.scope !== actor.scope) return false;
    const unit = systemId === undefined ? undefined : await database.read(({ units }) => units.find(systemId));
    return unit === undefined || seesFleet(same, unit.fleet);
  };

  router.on('GET', '/api/events', (call) => {
    const { response, actor } = call;
    // An OEM sees all units: nobody need look whose each of them is.
    const seesAll = seesFleet(actor, '');
    const sees = async (systemId: string) => {
      const unit = await database.read(({ units }) => units.find(systemId));
      return seesFleet(actor, unit?.fleet ?? '');
    };
    streamEvents(response, news, { ...endOf(actor), isStill: () => isStill(call), ...(!seesAll && { sees }) });
    return undefined;
  });

  router.on('GET', '/api/units/:unit/events', async (call) => {
    const systemId = await database.read((stores) => unitOf(stores, call));
    streamEvents(call.response, news, { ...endOf(call.actor), systemId, isStill: () => isStill(call, systemId) });
    return undefined;
  });

  router.on('GET', '/api/units/:unit/messages', async (call) => {
    const limit = readLimit(call, DEFAULT_MESSAGES, MAX_MESSAGES);
    const type = call.query('type');
    await database.flush();
    const value = await database.read(async (stores) => stores.messages.last(await unitOf(stores, call), limit, type));
    return { status: 200, value };
  });

  router.on('POST', '/api/units/:unit/resend', async (call) => {
    const systemId = await database.read((stores) => unitOf(stores, call));
    return { status: 202, value: { txn: await fleet.resendDesired(systemId) } };
  });
}

/** Throws `wrongState` for a unit that is in groups of another fleet: its owner would still reach it. */
async function mustBeFree({ subjects, unitSets }: Stores, systemId: string, fleet: string): Promise<void> {
  const isForeign = (group: { readonly fleet: string }) => group.fleet !== '' && group.fleet !== fleet;
  const groups = [
    ...(await unitSets.ofUnit(systemId)).filter(isForeign).map(({ name }) => `unit set "${name}"`),
    ...(await subjects.ofUnit(systemId)).filter(isForeign).map(({ id }) => `subject "${id}"`),
  ];
  if (groups.length === 0) return;
  throw new AosError('wrongState', `unit ${systemId} is in ${groups.join(', ')} of another fleet; take it out first`);
}
