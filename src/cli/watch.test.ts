/** `--watch` at a cloud, in this process. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { TestCloud } from '../cloud/cloud-for-tests.ts';
import { ScriptedUnit } from '../cloud/scripted-unit-for-tests.ts';
import { aosctl } from './program.ts';

let cloud: TestCloud;
let unit: ScriptedUnit;
beforeAll(async () => {
  cloud = await TestCloud.start();
  unit = await ScriptedUnit.register(cloud);
}, 60_000);
afterAll(async () => {
  unit.disconnect();
  await cloud.close();
});

function start(...args: readonly string[]) {
  const end = new AbortController();
  const pki = (name: string) => join(cloud.directory, 'work', 'pki', name);
  let said = '';
  const stream = {
    write: (text: string) => {
      said += text;
    },
  };
  const where = ['--cloud', cloud.endpoints.restUrl, '--ca', pki('root.pem'), '--cert', pki('operator.pem')];
  const ended = aosctl([...where, '--key', pki('operator-key.pem'), '--unit', unit.systemId, ...args], {
    ...{ stdout: stream, stderr: stream, env: {}, signal: end.signal },
  });
  return { said: () => said, ended, end: () => end.abort() };
}

describe('[P-02] --watch', () => {
  test('of all units shows them again when one comes, and ends with Ctrl-C', async () => {
    const watched = start('units', '--watch');
    await vi.waitFor(() => expect(watched.said()).toMatch(new RegExp(`${unit.systemId} +no`)), 10_000);
    await unit.comeOnline();
    await vi.waitFor(() => expect(watched.said()).toMatch(new RegExp(`${unit.systemId} +yes`)), 10_000);
    watched.end();
    expect(await watched.ended).toBe(0);
  });

  test('of the deployments of a unit is one JSON value a line for programs', async () => {
    await cloud.publish('maps', '1.0.0');
    const watched = start('--json', 'deployments', '--watch');
    await vi.waitFor(() => expect(watched.said()).toBe('[]\n'), 10_000);
    await cloud.must('PUT', `${unit.path}/deployments/maps`, { version: '1.0.0' });
    await vi.waitFor(() => expect(watched.said().trim().split('\n')).toHaveLength(2), 10_000);
    expect(JSON.parse(watched.said().trim().split('\n')[1]!)).toMatchObject([{ itemId: 'maps', version: '1.0.0' }]);
    watched.end();
    expect(await watched.ended).toBe(0);
  });

  test('of the alerts of a unit goes on with those to come, each once', async () => {
    const alert = (message: string) => {
      const timestamp = `${new Date().toISOString().slice(0, 23)}000Z`;
      const items = [{ tag: 'systemAlert', timestamp, node: { codename: 'main' }, message }] as const;
      return unit.acked(unit.send({ messageType: 'alerts', items: [...items] }));
    };
    await alert('fan is slow');
    const watched = start('--json', 'alerts', '--watch');
    const told = () =>
      watched
        .said()
        .split('\n')
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { data: { message: string } }).data.message);
    await vi.waitFor(() => expect(told()).toEqual(['fan is slow']), 10_000);
    await alert('fan has stopped');
    await vi.waitFor(() => expect(told()).toEqual(['fan is slow', 'fan has stopped']), 10_000);
    watched.end();
    expect(await watched.ended).toBe(0);
  });
});
