/** Commands of aosctl about deployments and members, against a real cloud and a scripted unit. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestCloud } from '../../src/cloud/cloud-for-tests.ts';
import { ScriptedUnit } from '../../src/cloud/scripted-unit-for-tests.ts';
import { AOSCTL, runProgram, writeProfile } from './run-program.ts';

const STORY_MS = 60_000;

let cloud: TestCloud;
let unit: ScriptedUnit;
let profile: string;

beforeAll(async () => {
  cloud = await TestCloud.start();
  unit = await ScriptedUnit.register(cloud);
  profile = await writeProfile(cloud.directory, cloud.endpoints.restUrl, unit.systemId);
  await unit.comeOnline();
}, STORY_MS);

afterAll(async () => {
  unit.disconnect();
  await cloud.close();
});

const ctl = (...args: string[]) => runProgram(AOSCTL, ['--profile', profile, ...args]);

/** The unit reports so many active instances of a version, and no other. */
function report(version: string, count: number): string {
  const place = {
    node: { codename: 'main' },
    runtime: { codename: 'r' },
    state: 'active',
    errorInfo: undefined,
  } as const;
  return unit.sendStatus({
    ...{ isDeltaInfo: false, nodes: [], items: [], subjects: [] },
    instances: [
      {
        ...{ item: { id: 'web', type: 'service' }, subject: { id: 'default' }, version },
        instances: Array.from({ length: count }, (_, instance) => ({ ...place, instance })),
      },
    ],
  });
}

describe('[P-06] aosctl', { timeout: STORY_MS }, () => {
  test('scale waits until as many instances run as are wanted, rollback until the former version does', async () => {
    for (const version of ['1.0.0', '2.0.0']) await cloud.publish('web', version, version);
    await cloud.must('PUT', `${unit.path}/deployments/web`, { version: '1.0.0' });
    await unit.next('desiredStatus');
    await unit.acked(report('1.0.0', 1));

    const scaled = ctl('scale', 'web', '--instances', '3', '--wait', '30');
    expect((await unit.next('desiredStatus')).data.instances).toMatchObject([{ numInstances: 3 }]);
    report('1.0.0', 2);
    report('1.0.0', 3);
    expect(await scaled).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/3 instance\(s\) of web 1\.0\.0: active/),
    });

    await cloud.must('PUT', `${unit.path}/deployments/web`, { version: '2.0.0' });
    await unit.next('desiredStatus');
    await unit.acked(report('2.0.0', 3));
    const back = ctl('rollback', 'web', '--wait', '30');
    expect((await unit.next('desiredStatus')).data.items).toMatchObject([{ version: '1.0.0' }]);
    report('1.0.0', 3);
    expect(await back).toMatchObject({ code: 0, stdout: expect.stringMatching(/web 1\.0\.0: active/) });
  });

  test('reset and forget end the membership of a unit', async () => {
    const closed = unit.closed();
    expect((await ctl('reset', unit.systemId)).code).toBe(0);
    expect(await closed).toBe(1008);
    expect(await cloud.must('GET', unit.path)).toMatchObject({ status: 'new', online: false });
    expect((await ctl('forget', unit.systemId)).code).toBe(0);
    expect((await cloud.ask('GET', unit.path)).status).toBe(404);
    const again = await ctl('forget', unit.systemId);
    expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/there is no unit/)]);
  });
});
