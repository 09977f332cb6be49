/** What units have measured and reported: usage, alerts, history, certificates that end. */
import { AosError } from '../../core/index.ts';
import { seesFleet } from '../access/roles.ts';
import { wantedOn } from '../domain/facts.ts';
import { thin } from '../domain/thin-samples.ts';
import { readLimit, readMoment } from './limits.ts';
import type { RestParts } from './parts.ts';
import type { Call, Router } from './router.ts';

const DEFAULT_RANGE_MS = 3_600_000;
const DEFAULT_POINTS = 300;
const MAX_POINTS = 5000;
const DAY_MS = 86_400_000;

export function observationRoutes(router: Router, { stores, now }: RestParts): void {
  const unitOf = (call: Call): string => stores.units.get(call.param('unit')).systemId;

  router.on('GET', '/api/units/:unit/monitoring', (call) => {
    const systemId = unitOf(call);
    const tillMs = readMoment(call, 'till', now()) ?? now().getTime();
    const fromMs = readMoment(call, 'from', now()) ?? tillMs - DEFAULT_RANGE_MS;
    const points = Number(call.query('points') ?? DEFAULT_POINTS);
    if (!Number.isInteger(points) || points < 2 || points > MAX_POINTS) {
      throw new AosError('invalidArgument', `points: expected a number from 2 to ${MAX_POINTS}`);
    }
    const asked = call.query('series');
    const series = stores.samples.series(systemId).filter((name) => asked === undefined || name === asked);
    const value = series.map((name) => ({
      series: name,
      samples: thin(stores.samples.between(systemId, name, fromMs, tillMs), fromMs, tillMs, points),
    }));
    return { status: 200, value };
  });

  router.on('GET', '/api/units/:unit/alerts', (call) => ({
    status: 200,
    value: stores.alerts.list(unitOf(call), {
      limit: readLimit(call, 100, 5000),
      fromMs: readMoment(call, 'from', now()),
      tillMs: readMoment(call, 'till', now()),
      tag: call.query('tag'),
    }),
  }));

  router.on('GET', '/api/units/:unit/history', (call) => ({
    status: 200,
    value: stores.history.events(unitOf(call), readLimit(call, 100, 500)),
  }));

  router.on('GET', '/api/units/:unit/wanted', (call) => ({ status: 200, value: wantedOn(stores, unitOf(call)) }));

  router.on('GET', '/api/certificates', (call) => {
    const days = Number(call.query('endingWithinDays') ?? 90);
    if (!Number.isFinite(days) || days < 0)
      throw new AosError('invalidArgument', 'endingWithinDays: expected a number');
    const ending = stores.certificates.endingBefore(new Date(now().getTime() + days * DAY_MS));
    const value = ending.filter(({ systemId }) => {
      const unit = systemId === null ? undefined : stores.units.find(systemId);
      return unit !== undefined && seesFleet(call.actor, unit.fleet);
    });
    return { status: 200, value };
  });
}
