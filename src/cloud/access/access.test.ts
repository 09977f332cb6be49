/** Who may do what: the table of access, walked row by row at a real cloud. */
import { Agent } from 'node:https';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fetchHttps, type HttpAnswer } from '../cloud-access-for-tests.ts';
import { TestCloud } from '../cloud-for-tests.ts';
import { ScriptedUnit } from '../scripted-unit-for-tests.ts';
import { ACCESS } from './access-table.ts';
import { ROLES, type Role } from './roles.ts';

let cloud: TestCloud;
let own: ScriptedUnit;
let foreign: ScriptedUnit;
/** Shows no certificate. */
let agent: Agent;
const tokens = new Map<Role, string>();

async function ask(role: Role | undefined, method: string, path: string, body?: unknown): Promise<HttpAnswer> {
  const token = role && tokens.get(role);
  return fetchHttps(
    `${cloud.endpoints.restUrl}${path}`,
    { method, agent, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } },
    body === undefined ? undefined : JSON.stringify(body),
  );
}

/** A call of a row that changes nothing: its unit, item and so on are unknown, its body is none. */
const pathOf = (pattern: string): string => pattern.replace(/:(\w+)/g, 'unknown-$1');

/** Streams have no end to wait for, and a login is a change. */
const isCallable = (row: (typeof ACCESS)[number]) =>
  row.pattern !== '/api/events' && row.pattern !== '/api/login-tokens';

beforeAll(async () => {
  cloud = await TestCloud.start();
  agent = new Agent({ ca: cloud.root, keepAlive: true });
  own = await ScriptedUnit.register(cloud);
  foreign = await ScriptedUnit.register(cloud);
  await cloud.must('PUT', `${own.path}/fleet`, { fleet: 'north' });
  await cloud.must('PUT', `${foreign.path}/fleet`, { fleet: 'south' });
  for (const role of ROLES) {
    await cloud.must('PUT', `/api/users/the-${role}`, { role, scope: role === 'fleetOwner' ? 'north' : 'acme' });
    const { token } = await cloud.must<{ token: string }>('POST', `/api/users/the-${role}/tokens`);
    tokens.set(role, token);
  }
});

afterAll(async () => {
  agent.destroy();
  await cloud.close();
});

describe('the table of access', () => {
  test.each(ACCESS.filter(isCallable).map((row) => [`${row.method} ${row.pattern}`, row] as const))(
    '%s is open to the roles of its row, and closed to all others and to strangers',
    async (_, { method, pattern, roles }) => {
      for (const role of ROLES) {
        const { status } = await ask(role, method, pathOf(pattern));
        expect([role, status === 403]).toEqual([role, !roles.includes(role)]);
      }
      expect((await ask(undefined, method, pathOf(pattern))).status).toBe(401);
    },
    60_000,
  );

  test('a fleet owner sees the units of the own fleet, and no others exist', async () => {
    const list = JSON.parse((await ask('fleetOwner', 'GET', '/api/units')).body.toString()) as { systemId: string }[];
    expect(list.map(({ systemId }) => systemId)).toEqual([own.systemId]);
    const rows = ACCESS.filter(({ pattern, roles }) => pattern.includes(':unit') && roles.includes('fleetOwner'));
    for (const { method, pattern } of rows) {
      const path = pathOf(pattern.replace(':unit', foreign.systemId));
      expect([pattern, (await ask('fleetOwner', method, path)).status]).toEqual([pattern, 404]);
    }
  });

  test('a fleet owner makes sets of own units only, and they belong to the own fleet', async () => {
    const put = (units: string[], name = 'mine') => ask('fleetOwner', 'PUT', `/api/unit-sets/${name}`, { units });
    expect((await put([foreign.systemId])).status).toBe(404);
    expect(JSON.parse((await put([own.systemId])).body.toString())).toMatchObject({ fleet: 'north' });
    await cloud.must('PUT', '/api/unit-sets/theirs', { fleet: 'south', units: [foreign.systemId] });
    expect((await put([own.systemId], 'theirs')).status).toBe(404);
    const sets = JSON.parse((await ask('fleetOwner', 'GET', '/api/unit-sets')).body.toString()) as { name: string }[];
    expect(sets.map(({ name }) => name)).toEqual(['mine']);
  });

  test('a unit that is in groups of a fleet does not leave it, nor get into those of another: its owner would reach it', async () => {
    const unit = await ScriptedUnit.register(cloud);
    const move = (fleet: string) => cloud.ask('PUT', `${unit.path}/fleet`, { fleet });
    const leave = async (path: string) => expect((await ask('fleetOwner', 'DELETE', path)).status).toBe(204);
    const set = { fleet: 'north', units: [unit.systemId] };
    const refused = await cloud.ask('PUT', '/api/unit-sets/moving', set);
    expect([refused.status, refused.body.toString()]).toEqual([409, expect.stringMatching(/is in no fleet, unit set/)]);
    expect((await move('north')).status).toBe(200);
    await cloud.must('PUT', '/api/unit-sets/moving', set);
    await ask('fleetOwner', 'PUT', '/api/subjects/moving', {});
    await ask('fleetOwner', 'PUT', `/api/subjects/moving/units/${unit.systemId}`);
    const stays = await move('south');
    expect([stays.status, stays.body.toString()]).toEqual([
      409,
      expect.stringMatching(/is in unit set .*moving.*, subject .*moving.* of another fleet; take it out first/),
    ]);
    await leave('/api/unit-sets/moving');
    await leave(`/api/subjects/moving/units/${unit.systemId}`);
    expect((await move('south')).status).toBe(200);
    expect((await cloud.ask('PUT', `/api/subjects/moving/units/${unit.systemId}`)).status).toBe(409);
  });

  test('a set that an OEM changes stays that of its fleet', async () => {
    await ask('fleetOwner', 'PUT', '/api/unit-sets/kept', { units: [own.systemId] });
    expect(await cloud.must('PUT', '/api/unit-sets/kept', { units: [] })).toMatchObject({ fleet: 'north' });
  });

  test('states of instances, which are for an OEM alone, do not stand in the log of messages', async () => {
    await own.comeOnline();
    const state = { item: { id: 'a' }, subject: { id: 's' }, instance: 0, stateChecksum: '00', state: 'private words' };
    await own.acked(own.send({ messageType: 'newState', ...state } as Parameters<typeof own.send>[0]));
    await cloud.must('PUT', `${own.path}/states/a/s/0`, { state: 'private words' });
    await own.next('updateState');
    const { body } = await ask('fleetOwner', 'GET', `${own.path}/messages`);
    expect(body.toString()).toMatch(/newState.*updateState/s);
    expect(body.toString()).not.toContain('private words');
    own.disconnect();
  });

  test('a service provider publishes for the own name only, sees own items only, and they wait for verification', async () => {
    const { index } = await cloud.publish('foreign', '1.0.0');
    const put = (body: object) => ask('serviceProvider', 'PUT', '/api/items/theirs/1.0.0', body);
    expect((await put({ indexDigest: index, owner: 'default' })).status).toBe(403);
    expect(JSON.parse((await put({ indexDigest: index })).body.toString())).toMatchObject({
      ...{ owner: 'acme', verification: 'pending' },
    });
    const list = JSON.parse((await ask('serviceProvider', 'GET', '/api/items')).body.toString()) as { id: string }[];
    expect(list.map(({ id }) => id)).toEqual(['theirs']);
    expect((await ask('serviceProvider', 'DELETE', '/api/items/foreign/1.0.0')).status).toBe(403);
  });

  test('a service provider learns nothing of items of others, nor of units', async () => {
    const { index } = await cloud.publish('hidden', '1.0.0');
    const taken = await ask('serviceProvider', 'PUT', '/api/items/hidden/1.0.0', { indexDigest: index });
    expect(taken.status).toBe(403);
    expect(taken.body.toString()).not.toContain(index);
    await ask('serviceProvider', 'PUT', '/api/items/wide/1.0.0', { indexDigest: index });
    await cloud.must('PUT', '/api/items/wide/1.0.0/verification', { state: 'valid' });
    await cloud.must('PUT', `${own.path}/deployments/wide`, { version: '1.0.0' });
    const used = await ask('serviceProvider', 'DELETE', '/api/items/wide/1.0.0');
    expect([used.status, used.body.toString()]).toEqual([409, expect.stringMatching(/is deployed by those who/)]);
    expect(used.body.toString()).not.toContain(own.systemId);
  });

  test('a campaign of one fleet is not in the way of another fleet, but of that of an OEM', async () => {
    await cloud.publish('rolled-out', '1.0.0');
    const begin = async (fleet: string, set: string) => {
      await cloud.must('PUT', `/api/unit-sets/${set}`, { fleet, units: [] });
      const user = `/api/users/owner-of-${fleet}`;
      await cloud.must('PUT', user, fleet === '' ? { role: 'oem' } : { role: 'fleetOwner', scope: fleet });
      const { token } = await cloud.must<{ token: string }>('POST', `${user}/tokens`);
      const campaign = { itemId: 'rolled-out', version: '1.0.0', stages: [set, set], automatic: false };
      const headers = { authorization: `Bearer ${token}` };
      const url = `${cloud.endpoints.restUrl}/api/campaigns`;
      return (await fetchHttps(url, { method: 'POST', agent, headers }, JSON.stringify(campaign))).status;
    };
    expect(await begin('north', 'rolled-north')).toBe(201);
    expect(await begin('south', 'rolled-south')).toBe(201);
    expect(await begin('south', 'rolled-south')).toBe(409);
    expect(await begin('', 'rolled-all')).toBe(409);
  });

  test('a certificate of a user stands for the user until the user is deleted', async () => {
    await cloud.must('PUT', '/api/users/carla', { role: 'oem' });
    const issued = await cloud.must<{ certificate: string; key: string }>('POST', '/api/users/carla/certificates');
    const me = () =>
      fetchHttps(`${cloud.endpoints.restUrl}/api/me`, {
        ...{ ca: cloud.root, agent: false, cert: issued.certificate, key: issued.key },
      });
    expect(JSON.parse((await me()).body.toString())).toMatchObject({ name: 'carla', role: 'oem' });
    await cloud.must('DELETE', '/api/users/carla');
    expect((await me()).status).toBe(403);
  });

  test('the audit says who has changed what and why, and holds no token', async () => {
    await fetchHttps(
      `${cloud.endpoints.restUrl}/api/unit-sets/audited`,
      {
        ...{ method: 'PUT', ca: cloud.root, agent: false },
        headers: { authorization: `Bearer ${tokens.get('oem')}`, 'x-aos-reason': 'a first stage' },
      },
      JSON.stringify({ units: [] }),
    );
    const [last] = await cloud.must<unknown[]>('GET', '/api/audit?limit=1');
    expect(last).toMatchObject({
      ...{ userName: 'the-oem', role: 'oem', method: 'PUT', path: '/api/unit-sets/audited', why: 'a first stage' },
    });
  });
});
