/** One cloud of two processes on one database, with real TLS: what is done at one reaches the units of the other. Both are in this process. */
import { mkdir, mkdtemp, symlink } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually, TestCloud } from '../cloud-for-tests.ts';
import { ScriptedUnit } from '../scripted-unit-for-tests.ts';
import { PostgresForTests } from '../store/postgresql/postgres-for-tests.ts';

let server: PostgresForTests;
let first: TestCloud;
let second: TestCloud;
const units: ScriptedUnit[] = [];

beforeAll(async () => {
  server = await PostgresForTests.start();
  const options = { database: await server.createDatabase(), ackTimeout: '2s' };
  const homes = [await mkdtemp(join(tmpdir(), 'aos-cloud-one-')), await mkdtemp(join(tmpdir(), 'aos-cloud-two-'))];
  const [keys, link] = homes.map((home) => join(home, 'work', 'pki')) as [string, string];
  for (const directory of [keys, dirname(link)]) await mkdir(directory, { recursive: true, mode: 0o700 });
  await symlink(keys, link);
  // Nothing is there: they make tables and keys, whichever comes first.
  [first, second] = (await Promise.all(homes.map((home) => TestCloud.start(options, home)))) as [TestCloud, TestCloud];
}, 120_000);

afterEach(() => {
  for (const unit of units.splice(0)) unit.disconnect();
});

afterAll(async () => {
  await second?.close();
  await first?.close();
  await server?.close();
});

/** The unit, at a process of the cloud. */
function at(cloud: TestCloud, unit: ScriptedUnit): ScriptedUnit {
  const same = ScriptedUnit.known(cloud, unit.systemId, unit.identity);
  units.push(same);
  return same;
}

async function newUnit(cloud: TestCloud): Promise<ScriptedUnit> {
  const unit = await ScriptedUnit.register(cloud);
  units.push(unit);
  return unit;
}

const isOnline = async (cloud: TestCloud, { path }: ScriptedUnit) =>
  (await cloud.must<{ online: boolean }>('GET', path)).online;

test('a unit that was registered at one process and is linked to the other is reached through both', async () => {
  const unit = at(second, await newUnit(first));
  await unit.comeOnline();
  await eventually(() => isOnline(first, unit)).toBe(true);

  await first.must('PUT', `${unit.path}/env-vars`, { items: [] });
  await unit.next('overrideEnvVars');
  const config = { version: '1.0.0', formatVersion: '7', nodes: [] };
  await first.must('PUT', `${unit.path}/unit-config`, config);
  await eventually(() => unit.inbox.map(({ data }) => data)).toContainEqual(
    expect.objectContaining({
      messageType: 'desiredStatus',
      unitConfig: expect.objectContaining({ version: '1.0.0' }),
    }),
  );
  const { txn } = await first.must<{ txn: string }>('POST', `${unit.path}/resend`);
  await eventually(() => unit.inbox.map(({ header }) => header.txn)).toContain(txn);
  await first.must('PUT', `${unit.path}/states/web/default/0`, { state: 'as another process says' });
  expect((await unit.next('updateState')).data.state).toBe('as another process says');
  await first.must('POST', `${unit.path}/certificates/renew`, {});
  await unit.next('renewCertificatesNotification');

  const gone = unit.closed();
  await first.must('POST', `${unit.path}/reset`);
  await gone;
  await eventually(() => isOnline(first, unit)).toBe(false);
});

test('of two machines with one identity at two processes the one that was there stays, and the operator hears of the other', async () => {
  const unit = await newUnit(first);
  await unit.comeOnline();
  const copy = at(second, unit);
  await copy.discover();
  await copy.connect();
  expect(await copy.closed()).toBe(1008);
  await unit.acked(unit.sendStatus({}));
  const alerts = await second.must<{ tag: string }[]>('GET', `${unit.path}/alerts`);
  expect(alerts).toMatchObject([{ tag: 'cloudAlert' }]);
});

test('somebody who is deleted at one process follows no news at the other any more', async () => {
  await first.must('PUT', '/api/users/eve', { role: 'oem' });
  const { token } = await first.must<{ token: string }>('POST', '/api/users/eve/tokens');
  const headers = { authorization: `Bearer ${token}` };
  const options = { ca: second.root, agent: false, headers } as const;
  let text = '';
  const ended = new Promise<void>((resolve, reject) => {
    get(`${second.endpoints.restUrl}/api/events`, options, (response) => {
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.on('end', resolve);
    }).on('error', reject);
  });
  await eventually(() => text).toContain('these are the news');
  await first.must('DELETE', '/api/users/eve');
  await ended;
});
