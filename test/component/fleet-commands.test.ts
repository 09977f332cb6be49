/** Commands of aosctl about many units, against a real cloud and scripted units. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { fetchHttps } from '../../src/cloud/cloud-access-for-tests.ts';
import { TestCloud } from '../../src/cloud/cloud-for-tests.ts';
import { ScriptedUnit } from '../../src/cloud/scripted-unit-for-tests.ts';
import { node } from '../e2e/fleet-for-web.ts';
import { AOSCTL, runProgram, writeProfile } from './run-program.ts';

const STORY_MS = 90_000;

let cloud: TestCloud;
let unit: ScriptedUnit;
let profile: string;

beforeAll(async () => {
  cloud = await TestCloud.start();
  unit = await ScriptedUnit.register(cloud);
  profile = await writeProfile(cloud.directory, cloud.endpoints.restUrl);
  await unit.comeOnline({ nodes: [node('main', true), node('aux', false)] });
}, STORY_MS);

afterAll(async () => {
  unit.disconnect();
  await cloud.close();
});

const ctl = (...args: string[]) => runProgram(AOSCTL, ['--profile', profile, '--unit', unit.systemId, ...args]);

async function json<T = unknown>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await ctl('--json', ...args);
  expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as T;
}

describe('aosctl and the fleet', { timeout: STORY_MS }, () => {
  test('a subject with its subscription reaches its unit, and leaves it', async () => {
    await cloud.publish('maps', '1.0.0');
    await json('subject', 'drivers', '--priority', '3');
    await json('subscribe', 'drivers', 'maps', '--instances', '2');
    await json('assign', 'drivers');
    expect((await unit.next('desiredStatus')).data.instances).toMatchObject([
      { item: { id: 'maps' }, subject: { id: 'drivers' }, numInstances: 2, priority: 3 },
    ]);
    expect((await ctl('subjects')).stdout).toMatch(/drivers +group +3 .*maps 1\.0\.0 ×2/);
    await json('--because', 'übergeben 100%', 'withdraw', 'drivers');
    expect(await cloud.must('GET', '/api/audit?limit=1')).toMatchObject([
      { method: 'DELETE', path: `/api/subjects/drivers/units/${unit.systemId}`, why: 'übergeben 100%' },
    ]);
    expect((await unit.next('desiredStatus')).data.instances).toEqual([]);
  });

  test('a campaign begins at a unit set, is shown, and is stopped', async () => {
    for (const version of ['1.0.0', '2.0.0']) await cloud.publish('app', version, version);
    await cloud.must('PUT', `${unit.path}/deployments/app`, { version: '1.0.0' });
    await unit.next('desiredStatus');
    await json('unit-set', 'first', '--member', unit.systemId);
    await unit.next('desiredStatus');
    const { id } = await json<{ id: string }>('campaign', 'begin', 'app', '--version', '2.0.0', '--stage', 'first');
    expect((await unit.next('desiredStatus')).data.items).toMatchObject([{ item: { id: 'app' }, version: '2.0.0' }]);
    expect((await ctl('campaign', 'show', id)).stdout).toMatch(`${unit.systemId}  pending`);
    expect((await ctl('campaigns')).stdout).toMatch(/app +2\.0\.0 +running +1\/1 first/);
    expect(await json('campaign', 'stop', id, '--reason', 'enough')).toMatchObject({
      state: 'stopped',
      reason: 'enough',
    });
  });

  test('alerts, usage and logs of a unit are read through its cloud', async () => {
    const timestamp = `${new Date().toISOString().slice(0, 23)}000Z`;
    const alert = { tag: 'systemAlert', timestamp, node: { codename: 'main' }, message: 'fan is slow' } as const;
    await unit.acked(unit.send({ messageType: 'alerts', items: [alert] }));
    const sample = { timestamp, cpu: 12, ram: 3 * 1024 ** 2, download: 0, upload: 0 };
    const items = [sample];
    await unit.acked(unit.send({ messageType: 'monitoringData', nodes: [{ node: { codename: 'main' }, items }] }));
    expect((await ctl('alerts')).stdout).toMatch(/systemAlert +main +fan is slow/);
    expect((await ctl('top', '--once')).stdout).toMatch(/node:main +12 +3\.0 MiB/);
    const asked = ctl('logs', '--since', '1h');
    const { data } = await unit.next('requestLog');
    for (const codename of ['main', 'aux']) {
      unit.send({
        ...{ messageType: 'pushLog', correlationId: data.correlationId!, node: { codename } },
        ...{ part: 1, partsCount: 1, status: 'ok', errorInfo: undefined },
        content: gzipSync(`a line of ${codename}\n`).toString('base64'),
      });
    }
    expect((await asked).stdout).toBe('aux  a line of aux\nmain  a line of main\n');
  });

  test('a user gets a certificate that works for the role, and login prints an address that works once', async () => {
    await json('user', 'add', 'berta', '--role', 'fleetOwner', '--scope', 'north');
    const out = join(cloud.directory, 'berta');
    await json('user', 'certificate', 'berta', '--out', out);
    const credentials = { cert: await readFile(`${out}.pem`), key: await readFile(`${out}-key.pem`) };
    const me = await fetchHttps(`${cloud.endpoints.restUrl}/api/me`, { ca: cloud.root, agent: false, ...credentials });
    expect(JSON.parse(me.body.toString())).toEqual({ name: 'berta', role: 'fleetOwner', scope: 'north' });
    expect((await ctl('user', 'certificate', 'berta', '--out', out)).stderr).toMatch(
      /cannot write .*file already exists/,
    );
    const url = (await ctl('login')).stdout.trim();
    const page = await fetchHttps(url, { ca: cloud.root, agent: false });
    // Who only opens the address is asked whose name it is.
    expect([page.status, page.headers['set-cookie']]).toEqual([200, undefined]);
    const enter = () => {
      const { origin, pathname, search } = new URL(url);
      const headers = { origin, 'content-type': 'application/x-www-form-urlencoded' };
      const options = { ca: cloud.root, agent: false, method: 'POST', headers };
      return fetchHttps(`${origin}${pathname}`, options, search.slice(1));
    };
    const { status, headers } = await enter();
    expect([status, headers.location]).toEqual([303, '/']);
    expect(String(headers['set-cookie'])).toMatch(/^__Host-.*; Path=\/; Secure; HttpOnly; SameSite=Strict/);
    expect((await enter()).status).toBe(403);
  });

  test('[P-07] deprovision takes the keys of secondary nodes, then ends the membership', async () => {
    const running = ctl('deprovision', '--wait', '60');
    const { data } = await unit.next('deprovisioningRequest');
    expect(data.node).toEqual({ codename: 'aux' });
    unit.send({
      messageType: 'deprovisioningResponse',
      correlationId: data.correlationId!,
      node: { codename: 'aux' },
      errorInfo: undefined,
    });
    await unit.acked(unit.sendStatus({ nodes: [{ ...node('aux', false), state: 'unprovisioned' }] }));
    expect(await running).toMatchObject({ code: 0 });
    expect(await cloud.must('GET', unit.path)).toMatchObject({ status: 'new', online: false });
    const certificates = await cloud.must<{ revokedAt: string | null }[]>('GET', `${unit.path}/certificates`);
    expect(certificates.every(({ revokedAt }) => revokedAt !== null)).toBe(true);
  });
});
