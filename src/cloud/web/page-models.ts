/** Which page an address means, and what stands in it. */
import { AosError } from '../../core/index.ts';
import { type Actor, seesFleet, seesItemsOf } from '../access/roles.ts';
import { wantedConfig, wantedOn } from '../domain/facts.ts';
import { thin } from '../domain/thin-samples.ts';
import { endingCertificates } from '../rest/ending-certificates.ts';
import { logsOf, readLog, textOf } from '../rest/log-view.ts';
import type { RestParts } from '../rest/parts.ts';
import { type SubjectView, subjectView } from '../rest/subject-view.ts';
import { type UnitView, unitView } from '../rest/unit-view.ts';
import type { Sample } from '../store/samples.ts';
import type { Stores } from '../store/stores.ts';
import type { UnitRow } from '../store/units.ts';
import { may, type Page } from './layout.ts';
import { campaignPage, campaignsPage } from './pages/campaign-pages.ts';
import { certificatesPage } from './pages/certificates-page.ts';
import { eventsPage } from './pages/events-page.ts';
import { type FleetUnit, failuresOf, fleetPage } from './pages/fleet-page.ts';
import { groupsPage } from './pages/groups-page.ts';
import { instancePage } from './pages/instance-page.ts';
import { itemsPage } from './pages/items-page.ts';
import { logsPage } from './pages/logs-page.ts';
import { managePage } from './pages/manage-page.ts';
import { monitoringPage } from './pages/monitoring-page.ts';
import { nodePage } from './pages/node-page.ts';
import { peoplePage } from './pages/people-page.ts';
import { unitPage } from './pages/unit-page.ts';
import { nameOf, type UnitModel } from './pages/unit-parts.ts';
import { RANGES, type Usage } from './pages/usage-parts.ts';

const POINTS = 240;
const SHOWN = 200;
const FLEET_PAGE = 100;
const DAY_MS = 86_400_000;
const FOREVER = new Date('9999-01-01T00:00:00Z');

/** Throws `notFound` for an address of nothing, or of something that is not for the actor. */
export async function pageAt(parts: RestParts, stores: Stores, actor: Actor, url: URL): Promise<Page> {
  const [first, ...rest] = url.pathname
    .split('/')
    .filter((part) => part !== '')
    .map(decode);
  switch (first) {
    case undefined:
      return may(actor, 'GET /api/units') ? fleet(parts, stores, actor, url) : items(parts, stores, actor);
    case 'units':
      return unit(parts, stores, actor, rest, url);
    case 'items':
      return items(parts, stores, actor);
    case 'campaigns':
      return campaigns(parts, stores, actor, rest[0]);
    case 'groups':
      return groups(stores, actor);
    case 'certificates':
      return certificates(parts, stores, actor);
    case 'people': {
      mustBeFor(actor, 'GET /api/users');
      return peoplePage(await stores.users.list(), await stores.history.changes(SHOWN), parts.now());
    }
  }
  throw new AosError('notFound', `there is nothing at ${url.pathname}`);
}

/** The text of `/units/<unit>/logs/<correlation>/<node>.txt`; undefined for another address. */
export async function logFile(stores: Stores, actor: Actor, pathname: string): Promise<Iterable<string> | undefined> {
  const match = /^\/units\/([^/]+)\/logs\/([^/]+)\/([^/]+)\.txt$/.exec(pathname);
  if (!match) return undefined;
  const [, systemId, correlation, nodeId] = match.map((part) => decode(part)) as [string, string, string, string];
  mustBeFor(actor, 'GET /api/units/:unit/logs');
  await mustSeeUnit(stores, actor, systemId);
  const text = textOf(await stores.logs.parts(systemId, correlation), nodeId);
  if (!text) throw new AosError('notFound', 'there is no such log');
  return text;
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch (error) {
    throw new AosError('invalidArgument', `"${part}" in the address is not encoded as it should be`, { cause: error });
  }
}

function mustBeFor(actor: Actor, call: string): void {
  if (may(actor, call)) return;
  throw new AosError('failed', `this page is not for a ${actor.role}`, { fields: { status: 403 } });
}

async function mustSeeUnit(stores: Stores, actor: Actor, systemId: string): Promise<UnitRow> {
  const row = await stores.units.find(systemId);
  if (row && seesFleet(actor, row.fleet)) return row;
  throw new AosError('notFound', `there is no unit "${systemId}"`);
}

async function fleet(parts: RestParts, stores: Stores, actor: Actor, url: URL): Promise<Page> {
  const { fleet: links, now, restUrl, pkiDirectory } = parts;
  const seen: UnitView[] = [];
  for (const row of await stores.units.list()) {
    if (!seesFleet(actor, row.fleet)) continue;
    seen.push(unitView(row, await stores.units.picture(row.systemId), links.isOnline(row.systemId)));
  }
  const search = url.searchParams.get('q')?.trim() ?? '';
  const after = url.searchParams.get('after') ?? '';
  const found = seen.filter((view) => isFound(view, search.toLowerCase()) && view.systemId > after);
  const dayAgo = now().getTime() - DAY_MS;
  // What takes a look at more than the unit itself is found out for those that are shown.
  const units: FleetUnit[] = [];
  for (const view of found.slice(0, FLEET_PAGE)) {
    const installed = new Set(
      (view.items ?? []).filter(({ state }) => state === 'installed').map((e) => `${nameOf(e.item)} ${e.version}`),
    );
    const wanted = new Set((await wantedOn(stores, view.systemId)).map(nameOfVersion));
    units.push({
      ...view,
      alertsToday: await stores.alerts.countSince(view.systemId, dayAgo),
      behind: [...wanted].filter((name) => !installed.has(name)).length,
    });
  }
  let alerts = 0;
  for (const { systemId } of seen) alerts += await stores.alerts.countSince(systemId, dayAgo);
  const totals = {
    units: seen.length,
    online: seen.filter(({ online }) => online).length,
    failing: seen.filter((view) => failuresOf(view) > 0).length,
    alerts,
  };
  const page = { search, after, next: found.length > FLEET_PAGE ? units.at(-1)!.systemId : undefined };
  return fleetPage({ units, totals, page, hints: { restUrl: restUrl(), pki: pkiDirectory }, now: now() }, actor);
}

const nameOfVersion = ({ itemId, version }: { readonly itemId: string; readonly version: string }) =>
  `${itemId} ${version}`;

/** Whether the text is in what the row of the unit says. */
function isFound(view: UnitView, text: string): boolean {
  const state = `${view.online ? 'online' : 'offline'}${failuresOf(view) > 0 ? ' failed' : ''}`;
  return (
    text === '' || [view.systemId, view.model.name, view.fleet, state].some((said) => said.toLowerCase().includes(text))
  );
}

async function unit(
  parts: RestParts,
  stores: Stores,
  actor: Actor,
  [systemId = '', page, ...rest]: string[],
  url: URL,
): Promise<Page> {
  const { fleet: links, now } = parts;
  mustBeFor(actor, 'GET /api/units/:unit');
  const row = await mustSeeUnit(stores, actor, systemId);
  const model: UnitModel = {
    unit: unitView(row, await stores.units.picture(systemId), links.isOnline(systemId)),
    wanted: await wantedOn(stores, systemId),
    sets: (await stores.unitSets.ofUnit(systemId)).map(({ name }) => name),
    subjects: (await stores.subjects.ofUnit(systemId)).map(({ id }) => id),
    ...{ actor, now: now() },
  };
  switch (page) {
    case undefined:
      return unitPage({
        ...model,
        items: (await stores.items.list()).filter(({ verification }) => verification !== 'rejected'),
      });
    case 'monitoring':
      return monitoringPage(model, await usageOf(parts, stores, systemId, url));
    case 'events':
      return eventsPage(
        model,
        await stores.alerts.list(systemId, { limit: SHOWN }),
        await stores.history.events(systemId, SHOWN),
      );
    case 'logs': {
      const logs = await logsOf(stores, systemId);
      const asked = url.searchParams.get('show');
      const shown = logs.find(({ correlationId }) => correlationId === asked) ?? logs[0];
      // With all the room that there is: an old one may have none in the list.
      const nodes = shown && readLog(await stores.logs.parts(systemId, shown.correlationId));
      return logsPage(model, logs, shown && nodes && { ...shown, nodes });
    }
    case 'manage':
      return managePage({
        ...model,
        certificates: await stores.certificates.ofUnit(systemId),
        unitConfig: await wantedConfig(stores, systemId),
        envVars: (await stores.units.wishes(systemId)).envVars ?? [],
      });
    case 'nodes':
      return nodePage(model, rest[0] ?? '', await usageOf(parts, stores, systemId, url));
    case 'instances': {
      const [itemId = '', subjectId = '', index = ''] = rest;
      const instance = { itemId, subjectId, index: Number(index), version: '', nodeId: '', runtimeId: '', state: '' };
      return instancePage(model, instance, await usageOf(parts, stores, systemId, url));
    }
  }
  throw new AosError('notFound', `there is nothing at ${url.pathname}`);
}

async function usageOf({ now }: RestParts, stores: Stores, systemId: string, url: URL): Promise<Usage> {
  const asked = url.searchParams.get('range');
  const [range, , lengthMs] = RANGES.find(([key]) => key === asked) ?? RANGES[0];
  const tillMs = now().getTime();
  const fromMs = tillMs - lengthMs;
  const measured: { series: string; samples: Sample[] }[] = [];
  for (const series of await stores.samples.series(systemId)) {
    const samples = await stores.samples.between(systemId, series, fromMs, tillMs);
    if (samples.length > 0) measured.push({ series, samples: thin(samples, fromMs, tillMs, POINTS) });
  }
  return { range, fromMs, tillMs, measured, alerts: await stores.alerts.list(systemId, { limit: SHOWN, fromMs }) };
}

async function items({ restUrl, now }: RestParts, stores: Stores, actor: Actor): Promise<Page> {
  const counts = new Map<string, number>();
  for (const { systemId } of await stores.units.list()) {
    for (const name of new Set((await wantedOn(stores, systemId)).map(nameOfVersion))) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  const list = (await stores.items.list())
    .filter(({ owner }) => seesItemsOf(actor, owner))
    .map((item) => ({ ...item, wantedBy: counts.get(`${item.id} ${item.version}`) ?? 0 }));
  return itemsPage(list, restUrl(), actor, now());
}

async function campaigns(
  { campaigns: runner, now }: RestParts,
  stores: Stores,
  actor: Actor,
  id: string | undefined,
): Promise<Page> {
  mustBeFor(actor, 'GET /api/campaigns');
  if (id !== undefined) {
    const campaign = await stores.campaigns.get(id);
    if (!seesFleet(actor, campaign.fleet)) throw new AosError('notFound', `there is no campaign "${id}"`);
    return campaignPage(campaign, await runner.progress(stores, id), now());
  }
  const seen = <T extends { readonly fleet: string }>(list: readonly T[]) =>
    list.filter((entry) => seesFleet(actor, entry.fleet));
  const list = (await stores.items.list()).filter(({ verification }) => verification !== 'rejected');
  const sets = seen(await stores.unitSets.list());
  return campaignsPage(seen(await stores.campaigns.list()), list, sets, now());
}

async function groups(stores: Stores, actor: Actor): Promise<Page> {
  mustBeFor(actor, 'GET /api/subjects');
  const sees = ({ fleet: name }: { readonly fleet: string }) => seesFleet(actor, name);
  const subjects: SubjectView[] = [];
  for (const subject of await stores.subjects.list()) {
    if (sees(subject)) subjects.push(await subjectView(stores, subject));
  }
  const units = (await stores.units.list()).filter(sees).map(({ systemId }) => systemId);
  const sets = (await stores.unitSets.list()).filter(sees);
  return groupsPage(sets, subjects, units, await stores.items.list());
}

async function certificates({ fleet: links, now }: RestParts, stores: Stores, actor: Actor): Promise<Page> {
  mustBeFor(actor, 'GET /api/certificates');
  const rows = await endingCertificates(stores, actor, FOREVER);
  return certificatesPage(rows.slice(0, SHOWN), (systemId) => links.isOnline(systemId), actor, now());
}
