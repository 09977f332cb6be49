/** The state of an instance: to the cloud, back after the unit has lost it, to another unit; and what is no state. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startUnit, type Unit } from '../../devenv/index.ts';
import { World } from './world.ts';

const STORY_MS = 120_000;
const ITEM = `counter-${randomBytes(3).toString('hex')}`;
const LIMIT_BYTES = 1024;

interface CloudState {
  readonly itemId: string;
  readonly state: string;
}

let world: World;
let other: Unit | undefined;

beforeAll(async () => {
  world = await World.create({ unit: { config: { cm: { alerts: { sendPeriod: '200ms' } } } } });
  await world.provision();
  await world.publishBusybox(ITEM, '1.0.0', { quotas: { stateLimit: LIMIT_BYTES } });
  await world.deploy(ITEM, '1.0.0');
}, STORY_MS);

afterAll(async () => {
  await other?.stop();
  await world?.close();
}, STORY_MS);

/** As the instance sees its state. */
const seen = async () => `/proc/${await world.pidOf(ITEM)}/root/state.dat`;

const stateDirectory = (unit: Unit = world.unit) => join(unit.layout.var, 'states', ITEM, 'default', '0');

const untilCloudKnows = (state: string) =>
  world.until(
    `the cloud knows the state "${state}"`,
    () => world.rest.get<CloudState[]>(`/api/units/${world.systemId}/states`),
    (states) => states.some((one) => one.itemId === ITEM && one.state === state),
  );

const untilState = (unit: Unit, state: string) =>
  world.until(
    `the state is "${state}"`,
    () => readFile(join(stateDirectory(unit), 'state.dat'), 'utf8'),
    (found) => found === state,
  );

test(
  '[CM-102] [CM-103] [CM-105] what an instance writes is in the cloud, and what the cloud writes is seen by the instance that runs',
  async () => {
    const pid = await world.pidOf(ITEM);
    await writeFile(await seen(), 'one');
    await untilCloudKnows('one');
    await world.rest.send('PUT', `/api/units/${world.systemId}/states/${ITEM}/default/0`, { state: 'two' });
    const file = await seen();
    await world.until(
      'the instance sees it',
      () => readFile(file, 'utf8'),
      (found) => found === 'two',
    );
    expect(await world.pidOf(ITEM)).toBe(pid);
  },
  STORY_MS,
);

describe('what is no state', () => {
  const path = () => join(stateDirectory(), 'state.dat');
  const secret = () => join(world.directory, 'secret');

  /** Each puts something in the place of the state; the instance itself could only make it too large. */
  const faults: readonly (readonly [string, RegExp, () => Promise<unknown>])[] = [
    ['is too large', /has 2000 bytes, more than its limit of 1024/, () => writeFile(path(), 'x'.repeat(2000))],
    ['vanishes', /is gone/, async () => undefined],
    ['becomes a directory', /is a directory/, () => mkdir(path())],
    ['becomes a link out of its directory', /is a symbolic link/, () => symlink(secret(), path())],
    ['becomes a pipe', /is a pipe or socket|is a device or pipe/, async () => execFileSync('mkfifo', [path()])],
  ];

  test.each(faults)(
    '[CM-106] a state that %s is reported to both ends; nothing else is touched, and it is a state again later',
    async (what, words, make) => {
      await writeFile(secret(), 'of the system', { mode: 0o600 });
      const before = await stat(secret());
      await rename(path(), `${path()}.aside`);
      await make();
      const name = `${ITEM}/default/0`;
      await world.until(
        'the unit tells people',
        async () => world.must('why', name),
        (told) => words.test(told),
      );
      await world.until(
        'the cloud is told',
        () => world.rest.get(`/api/units/${world.systemId}/alerts?tag=updateItemInstanceAlert`),
        (alerts) => words.test(JSON.stringify(alerts)),
      );
      await rm(path(), { recursive: true, force: true });
      await rename(`${path()}.aside`, path());
      await writeFile(await seen(), `after it ${what}`);
      await untilCloudKnows(`after it ${what}`);
      expect(await readFile(secret(), 'utf8')).toBe('of the system');
      const after = await stat(secret());
      expect([after.uid, after.gid, after.mode]).toEqual([before.uid, before.gid, before.mode]);
    },
    STORY_MS,
  );
});

describe('a state travels', () => {
  test(
    '[CM-104] back to a unit that has lost its disk',
    async () => {
      await writeFile(await seen(), 'precious');
      await untilCloudKnows('precious');
      await world.must('undeploy', ITEM, '--unit', world.systemId, '--wait', '60');
      const cm = world.unit.supervisor.daemon('aos-cm');
      await cm.stop('SIGKILL');
      const work = join(world.unit.layout.var, 'workdirs', 'cm');
      for (const entry of await readdir(work)) await rm(join(work, entry), { recursive: true });
      await rm(join(world.unit.layout.var, 'states'), { recursive: true });
      await cm.start();
      await world.unit.supervisor.untilReady('aos-cm');
      await world.deploy(ITEM, '1.0.0');
      const file = await seen();
      await world.until(
        'the new instance sees it',
        () => readFile(file, 'utf8'),
        (found) => found === 'precious',
      );
    },
    STORY_MS,
  );

  test(
    '[W14] [CM-104] to another unit, by the hand of an operator',
    async () => {
      await untilCloudKnows('precious');
      // Both units are on this host, where an instance can be once only.
      await world.must('undeploy', ITEM, '--unit', world.systemId, '--wait', '60');
      const systemId = `${world.systemId}-other`;
      const caFile = world.cloud.layout.rootCa;
      const unit = await startUnit(join(world.directory, 'other'), {
        caFile,
        identity: { systemId },
        restartPauseMs: 50,
      });
      other = unit;
      await world.must('provision', unit.provisioningAddress, '--retry-delay', '1');
      const states = await world.rest.get<CloudState[]>(`/api/units/${world.systemId}/states`);
      const { state } = states.find(({ itemId }) => itemId === ITEM)!;
      await world.rest.send('PUT', `/api/units/${systemId}/states/${ITEM}/default/0`, { state });
      await world.must('deploy', ITEM, '--version', '1.0.0', '--unit', systemId, '--wait', '60');
      await untilState(unit, 'precious');
    },
    STORY_MS,
  );
});
