/** Units: what they are, and what happens to them. */
import * as z from 'zod';
import { transaction } from '../../storage/index.ts';
import { seesFleet } from '../access/roles.ts';
import { streamEvents } from './event-stream.ts';
import { readLimit } from './limits.ts';
import { pageOf } from './paging.ts';
import type { RestParts } from './parts.ts';
import type { Call, Router } from './router.ts';
import { unitView } from './unit-view.ts';

const FleetRequest = z.object({ fleet: z.string().max(64) });
const MAX_MESSAGES = 10_000;
const DEFAULT_MESSAGES = 100;

export function unitRoutes(router: Router, parts: RestParts): void {
  const { stores, fleet, events, now, logger } = parts;
  const { units } = stores;

  /** The unit that the path names. Throws `notFound`. */
  const unitOf = (call: Call): string => units.get(call.param('unit')).systemId;
  const view = (systemId: string) => unitView(units.get(systemId), units.picture(systemId), fleet.isOnline(systemId));

  router.on('GET', '/api/units', (call) => {
    const [online, ofFleet, model, part] = ['online', 'fleet', 'model', 'q'].map((name) => call.query(name));
    const found = units
      .list()
      .filter(({ fleet }) => seesFleet(call.actor, fleet) && (ofFleet === undefined || fleet === ofFleet))
      .filter(({ modelName }) => model === undefined || modelName === model)
      .filter(({ systemId }) => part === undefined || systemId.includes(part))
      .filter(({ systemId }) => online === undefined || fleet.isOnline(systemId) === (online === 'true'));
    return {
      status: 200,
      value: pageOf(call, found, ({ systemId }) => systemId).map(({ systemId }) => view(systemId)),
    };
  });

  router.on('GET', '/api/units/:unit', (call) => ({ status: 200, value: view(unitOf(call)) }));

  router.on('DELETE', '/api/units/:unit', (call) => {
    const systemId = unitOf(call);
    transaction(stores.database, () => {
      stores.certificates.revoke(systemId, undefined, now());
      units.delete(systemId);
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
      const systemId = unitOf(call);
      units.setFleet(systemId, value.fleet);
      return { status: 200, value: view(systemId) };
    },
    FleetRequest,
  );

  router.on('POST', '/api/units/:unit/reset', (call) => {
    const systemId = unitOf(call);
    transaction(stores.database, () => {
      stores.certificates.revoke(systemId, undefined, now());
      units.reset(systemId);
    });
    fleet.close(systemId, 'the unit was reset');
    events.publish(systemId, 'reset');
    logger.info({ systemId }, 'a unit is reset; its next registration is taken');
    return { status: 200, value: view(systemId) };
  });

  router.on('GET', '/api/events', ({ response, actor }) => {
    streamEvents(response, events, undefined, (systemId) => seesFleet(actor, units.find(systemId)?.fleet ?? ''));
    return undefined;
  });

  router.on('GET', '/api/units/:unit/events', (call) => {
    streamEvents(call.response, events, unitOf(call));
    return undefined;
  });

  router.on('GET', '/api/units/:unit/messages', (call) => {
    const limit = readLimit(call, DEFAULT_MESSAGES, MAX_MESSAGES);
    return { status: 200, value: stores.messages.last(unitOf(call), limit, call.query('type')) };
  });

  router.on('POST', '/api/units/:unit/resend', (call) => ({
    status: 202,
    value: { txn: fleet.resendDesired(unitOf(call)) },
  }));
}
