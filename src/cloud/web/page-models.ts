/** Which page an address means, and what stands in it. */
import { AosError } from '../../core/index.ts';
import { type Actor, seesFleet, seesItemsOf } from '../access/roles.ts';
import { wantedConfig, wantedOn } from '../domain/facts.ts';
import { thin } from '../domain/thin-samples.ts';
import { readLog } from '../rest/log-view.ts';
import type { RestParts } from '../rest/parts.ts';
import { type UnitView, unitView } from '../rest/unit-view.ts';
import { may, type Page } from './layout.ts';
import { type FleetUnit, failuresOf, fleetPage } from './pages/fleet-page.ts';
import { managePage } from './pages/manage-page.ts';
import {
  campaignPage,
  campaignsPage,
  certificatesPage,
  groupsPage,
  itemsPage,
  peoplePage,
} from './pages/other-pages.ts';
import {
  eventsPage,
  instancePage,
  type LogEntry,
  logsPage,
  monitoringPage,
  nodePage,
  RANGES,
  type Usage,
} from './pages/unit-more-pages.ts';
import { unitPage } from './pages/unit-page.ts';
import { nameOf, type UnitModel } from './pages/unit-parts.ts';

const POINTS = 240;
const SHOWN = 200;
const FLEET_PAGE = 100;
const DAY_MS = 86_400_000;
const FOREVER = new Date('9999-01-01T00:00:00Z');

/** Throws `notFound` for an address of nothing, or of something that is not for the actor. */
export function pageAt(parts: RestParts, actor: Actor, url: URL): Page {
  const [first, ...rest] = url.pathname
    .split('/')
    .filter((part) => part !== '')
    .map(decode);
  switch (first) {
    case undefined:
      return may(actor, 'GET /api/units') ? fleet(parts, actor, url) : items(parts, actor);
    case 'units':
      return unit(parts, actor, rest, url);
    case 'items':
      return items(parts, actor);
    case 'campaigns':
      return campaigns(parts, actor, rest[0]);
    case 'groups':
      return groups(parts, actor);
    case 'certificates':
      return certificates(parts, actor);
    case 'people': {
      mustBeFor(actor, 'GET /api/users');
      const { stores, now } = parts;
      return peoplePage(stores.users.list(), stores.history.changes(SHOWN), now());
    }
  }
  throw new AosError('notFound', `there is nothing at ${url.pathname}`);
}

/** The text of `/units/<unit>/logs/<correlation>/<node>.txt`; undefined for another address. */
export function logFile({ stores }: RestParts, actor: Actor, pathname: string): string | undefined {
  const match = /^\/units\/([^/]+)\/logs\/([^/]+)\/([^/]+)\.txt$/.exec(pathname);
  if (!match) return undefined;
  const [, systemId, correlation, nodeId] = match.map((part) => decode(part)) as [string, string, string, string];
  mustBeFor(actor, 'GET /api/units/:unit/logs');
  mustSeeUnit(stores, actor, systemId);
  const log = readLog(stores.logs.parts(systemId, correlation)).find((entry) => entry.nodeId === nodeId);
  if (!log) throw new AosError('notFound', 'there is no such log');
  return log.text;
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

function mustSeeUnit(stores: RestParts['stores'], actor: Actor, systemId: string) {
  const row = stores.units.find(systemId);
  if (row && seesFleet(actor, row.fleet)) return row;
  throw new AosError('notFound', `there is no unit "${systemId}"`);
}

function fleet({ stores, fleet: links, now, restUrl, pkiDirectory }: RestParts, actor: Actor, url: URL): Page {
  const seen = stores.units
    .list()
    .filter((row) => seesFleet(actor, row.fleet))
    .map((row) => unitView(row, stores.units.picture(row.systemId), links.isOnline(row.systemId)));
  const search = url.searchParams.get('q')?.trim() ?? '';
  const after = url.searchParams.get('after') ?? '';
  const found = seen.filter((view) => isFound(view, search.toLowerCase()) && view.systemId > after);
  const dayAgo = now().getTime() - DAY_MS;
  // What takes a look at more than the unit itself is found out for those that are shown.
  const units = found.slice(0, FLEET_PAGE).map((view): FleetUnit => {
    const installed = new Set(
      (view.items ?? []).filter(({ state }) => state === 'installed').map((e) => `${nameOf(e.item)} ${e.version}`),
    );
    const wanted = new Set(wantedOn(stores, view.systemId).map(({ itemId, version }) => `${itemId} ${version}`));
    return {
      ...view,
      alertsToday: stores.alerts.countSince(view.systemId, dayAgo),
      behind: [...wanted].filter((name) => !installed.has(name)).length,
    };
  });
  const alerts = seen.reduce((sum, { systemId }) => sum + stores.alerts.countSince(systemId, dayAgo), 0);
  const totals = {
    units: seen.length,
    online: seen.filter(({ online }) => online).length,
    failing: seen.filter((view) => failuresOf(view) > 0).length,
    alerts,
  };
  const page = { search, after, next: found.length > FLEET_PAGE ? units.at(-1)!.systemId : undefined };
  return fleetPage({ units, totals, page, hints: { restUrl: restUrl(), pki: pkiDirectory }, now: now() }, actor);
}

/** Whether the text is in what the row of the unit says. */
function isFound(view: UnitView, text: string): boolean {
  const state = `${view.online ? 'online' : 'offline'}${failuresOf(view) > 0 ? ' failed' : ''}`;
  return (
    text === '' || [view.systemId, view.model.name, view.fleet, state].some((said) => said.toLowerCase().includes(text))
  );
}

function unit(parts: RestParts, actor: Actor, [systemId = '', page, ...rest]: string[], url: URL): Page {
  const { stores, fleet: links, now } = parts;
  mustBeFor(actor, 'GET /api/units/:unit');
  const row = mustSeeUnit(stores, actor, systemId);
  const model: UnitModel = {
    unit: unitView(row, stores.units.picture(systemId), links.isOnline(systemId)),
    wanted: wantedOn(stores, systemId),
    sets: stores.unitSets.ofUnit(systemId).map(({ name }) => name),
    subjects: stores.subjects.ofUnit(systemId).map(({ id }) => id),
    ...{ actor, now: now() },
  };
  switch (page) {
    case undefined:
      return unitPage({
        ...model,
        items: stores.items.list().filter(({ verification }) => verification !== 'rejected'),
      });
    case 'monitoring':
      return monitoringPage(model, usageOf(parts, systemId, url));
    case 'events':
      return eventsPage(
        ...([model, stores.alerts.list(systemId, { limit: SHOWN }), stores.history.events(systemId, SHOWN)] as const),
      );
    case 'logs': {
      const logs = stores.logs.requests(systemId).map(
        (request): LogEntry => ({
          ...request,
          nodes: readLog(stores.logs.parts(systemId, request.correlationId)),
        }),
      );
      const asked = url.searchParams.get('show');
      return logsPage(model, logs, logs.find(({ correlationId }) => correlationId === asked) ?? logs[0]);
    }
    case 'manage':
      return managePage({
        ...model,
        certificates: stores.certificates.ofUnit(systemId),
        unitConfig: wantedConfig(stores, systemId),
        envVars: stores.units.wishes(systemId).envVars ?? [],
      });
    case 'nodes':
      return nodePage(model, rest[0] ?? '', usageOf(parts, systemId, url));
    case 'instances': {
      const [itemId = '', subjectId = '', index = ''] = rest;
      const instance = { itemId, subjectId, index: Number(index), version: '', nodeId: '', runtimeId: '', state: '' };
      return instancePage(model, instance, usageOf(parts, systemId, url));
    }
  }
  throw new AosError('notFound', `there is nothing at ${url.pathname}`);
}

function usageOf({ stores, now }: RestParts, systemId: string, url: URL): Usage {
  const asked = url.searchParams.get('range');
  const [range, , lengthMs] = RANGES.find(([key]) => key === asked) ?? RANGES[0];
  const tillMs = now().getTime();
  const fromMs = tillMs - lengthMs;
  const measured = stores.samples.series(systemId).flatMap((series) => {
    const samples = stores.samples.between(systemId, series, fromMs, tillMs);
    return samples.length === 0 ? [] : [{ series, samples: thin(samples, fromMs, tillMs, POINTS) }];
  });
  return { range, fromMs, tillMs, measured, alerts: stores.alerts.list(systemId, { limit: SHOWN, fromMs }) };
}

function items({ stores, restUrl, now }: RestParts, actor: Actor): Page {
  const counts = new Map<string, number>();
  for (const { systemId } of stores.units.list()) {
    for (const name of new Set(wantedOn(stores, systemId).map(({ itemId, version }) => `${itemId} ${version}`))) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  const list = stores.items
    .list()
    .filter(({ owner }) => seesItemsOf(actor, owner))
    .map((item) => ({ ...item, wantedBy: counts.get(`${item.id} ${item.version}`) ?? 0 }));
  return itemsPage(list, restUrl(), actor, now());
}

function campaigns({ stores, campaigns: runner, now }: RestParts, actor: Actor, id: string | undefined): Page {
  mustBeFor(actor, 'GET /api/campaigns');
  if (id !== undefined) {
    const campaign = stores.campaigns.get(id);
    if (!seesFleet(actor, campaign.fleet)) throw new AosError('notFound', `there is no campaign "${id}"`);
    return campaignPage(campaign, runner.progress(id), now());
  }
  const seen = <T extends { readonly fleet: string }>(list: readonly T[]) =>
    list.filter((entry) => seesFleet(actor, entry.fleet));
  const list = stores.items.list().filter(({ verification }) => verification !== 'rejected');
  return campaignsPage(seen(stores.campaigns.list()), list, seen(stores.unitSets.list()), now());
}

function groups({ stores }: RestParts, actor: Actor): Page {
  mustBeFor(actor, 'GET /api/subjects');
  const sees = ({ fleet: name }: { readonly fleet: string }) => seesFleet(actor, name);
  const subjects = stores.subjects
    .list()
    .filter(sees)
    .map((subject) => ({
      ...subject,
      units: stores.subjects.units(subject.id),
      items: stores.subjects.subscriptions(subject.id),
    }));
  const units = stores.units
    .list()
    .filter(sees)
    .map(({ systemId }) => systemId);
  return groupsPage(stores.unitSets.list().filter(sees), subjects, units, stores.items.list());
}

function certificates({ stores, fleet: links, now }: RestParts, actor: Actor): Page {
  mustBeFor(actor, 'GET /api/certificates');
  const rows = stores.certificates.endingBefore(FOREVER).filter(({ systemId }) => {
    const row = systemId === null ? undefined : stores.units.find(systemId);
    return row !== undefined && seesFleet(actor, row.fleet);
  });
  return certificatesPage(rows.slice(0, SHOWN), (systemId) => links.isOnline(systemId), actor, now());
}
