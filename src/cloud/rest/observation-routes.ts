/** What units have measured and reported: usage, alerts, history, certificates that end. */
import { AosError } from '../../core/index.ts';
import { wantedOn } from '../domain/facts.ts';
import { thin } from '../domain/thin-samples.ts';
import type { Sample } from '../store/samples.ts';
import { endingCertificates } from './ending-certificates.ts';
import { readLimit, readMoment } from './limits.ts';
import type { RestParts } from './parts.ts';
import type { Router } from './router.ts';
import { unitOf } from './unit-of.ts';

const DEFAULT_RANGE_MS = 3_600_000;
const DEFAULT_POINTS = 300;
const MAX_POINTS = 5000;
const DAY_MS = 86_400_000;

export function observationRoutes(router: Router, { database, now }: RestParts): void {
  router.on('GET', '/api/units/:unit/monitoring', async (call) => {
    const tillMs = readMoment(call, 'till', now()) ?? now().getTime();
    const fromMs = readMoment(call, 'from', now()) ?? tillMs - DEFAULT_RANGE_MS;
    const points = Number(call.query('points') ?? DEFAULT_POINTS);
    if (!Number.isInteger(points) || points < 2 || points > MAX_POINTS) {
      throw new AosError('invalidArgument', `points: expected a number from 2 to ${MAX_POINTS}`);
    }
    const asked = call.query('series');
    const value = await database.read(async (stores) => {
      const systemId = await unitOf(stores, call);
      const series = (await stores.samples.series(systemId)).filter((name) => asked === undefined || name === asked);
      const measured: { series: string; samples: Sample[] }[] = [];
      for (const name of series) {
        const samples = await stores.samples.between(systemId, name, fromMs, tillMs);
        measured.push({ series: name, samples: thin(samples, fromMs, tillMs, points) });
      }
      return measured;
    });
    return { status: 200, value };
  });

  router.on('GET', '/api/units/:unit/alerts', async (call) => {
    const query = {
      limit: readLimit(call, 100, 5000),
      fromMs: readMoment(call, 'from', now()),
      tillMs: readMoment(call, 'till', now()),
      tag: call.query('tag'),
    };
    const value = await database.read(async (stores) => stores.alerts.list(await unitOf(stores, call), query));
    return { status: 200, value };
  });

  router.on('GET', '/api/units/:unit/history', async (call) => {
    const limit = readLimit(call, 100, 500);
    await database.flush();
    const value = await database.read(async (stores) => stores.history.events(await unitOf(stores, call), limit));
    return { status: 200, value };
  });

  router.on('GET', '/api/units/:unit/wanted', async (call) => ({
    status: 200,
    value: await database.read(async (stores) => wantedOn(stores, await unitOf(stores, call))),
  }));

  router.on('GET', '/api/certificates', async (call) => {
    const days = Number(call.query('endingWithinDays') ?? 90);
    if (!Number.isFinite(days) || days < 0)
      throw new AosError('invalidArgument', 'endingWithinDays: expected a number');
    const end = new Date(now().getTime() + days * DAY_MS);
    return { status: 200, value: await database.read((stores) => endingCertificates(stores, call.actor, end)) };
  });
}
