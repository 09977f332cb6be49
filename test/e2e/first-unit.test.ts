/** The whole path, from a blank unit to a container that the cloud deployed and removed again. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pkcs11js from 'pkcs11js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTimeOf } from '../../devenv/daemon-process.ts';
import type { UnitDaemon } from '../../devenv/index.ts';
import { softhsmLibrary } from '../../devenv/token.ts';
import { busyboxLayer, type Entry, noise, writeImage } from './image.ts';
import { World } from './world.ts';

const STORY_MS = 120_000;
const SEEDS = Array.from({ length: 10 }, (_, index) => index + 1);

let world: World;
let images = 0;

/** Publishes an image made of busybox and these files, as a version of an item. */
async function publish(itemId: string, version: string, files: readonly Entry[] = []): Promise<void> {
  images += 1;
  const directory = await writeImage(join(world.directory, `image-${images}`), {
    cmd: ['/bin/sh', '-c', `echo ${itemId} ${version}; while :; do sleep 1000; done`],
    layers: [busyboxLayer(), [{ name: 'version', content: `${itemId} ${version}\n` }, ...files]],
  });
  await world.must('publish', directory, '--id', itemId, '--version', version);
}

/** The process of the only instance of an item. */
async function pidOf(itemId: string): Promise<number> {
  const found = await world.until(
    `one instance of ${itemId} runs`,
    () => world.running(itemId),
    (list) => list.filter((entry) => entry.state === 'active' && entry.pid !== undefined).length === 1,
  );
  return found.find((entry) => entry.state === 'active')!.pid!;
}

const isAlive = (pid: number) => startTimeOf(pid) !== undefined;

beforeAll(async () => {
  world = await World.create();
}, STORY_MS);

afterAll(() => world?.close(), STORY_MS);

describe('the whole path', () => {
  test(
    '[W2] [W3] [P-07] a blank unit is provisioned by aosctl and comes online by itself',
    async () => {
      expect(world.unit.supervisor.provisioned).toBe(false);
      await world.provision();
      expect(await readFile(world.unit.layout.stateFile, 'utf8')).toBe('provisioned');
      const report = await world.untilUnit('its node is connected', ({ nodes }) =>
        nodes.some((node) => node.connected),
      );
      expect(report.systemId).toBe(world.systemId);
      expect(report.nodes).toMatchObject([{ nodeId: 'main', state: 'provisioned', connected: true }]);
    },
    STORY_MS,
  );

  test(
    'a unit that is provisioned is not provisioned again',
    async () => {
      const { code, stderr } = await world.ctl('provision', world.unit.provisioningAddress, '--retry-count', '0');
      expect(code).not.toBe(0);
      expect(stderr).toMatch(/is the unit blank, its IAM in provisioning mode/);
    },
    STORY_MS,
  );

  test(
    '[W6] [P-02] [CM-30] [SM-03] a service is deployed, updated, and removed, and each step is seen from both ends',
    async () => {
      await publish('first', '1.0.0');
      await world.deploy('first', '1.0.0');
      const firstPid = await pidOf('first');
      expect(await world.cloudInstances('first')).toMatchObject([
        { version: '1.0.0', state: 'active', nodeId: 'main' },
      ]);
      expect(await readFile(`/proc/${firstPid}/root/version`, 'utf8')).toBe('first 1.0.0\n');

      await publish('first', '2.0.0');
      await world.deploy('first', '2.0.0');
      const secondPid = await pidOf('first');
      expect(await readFile(`/proc/${secondPid}/root/version`, 'utf8')).toBe('first 2.0.0\n');
      expect(isAlive(firstPid)).toBe(false);

      const local = JSON.parse(await world.must('status', '--json')) as Awaited<ReturnType<World['unit']['status']>>;
      expect(local.instances).toMatchObject([{ itemId: 'first', version: '2.0.0', state: 'active' }]);
      expect(await world.must('instances')).toMatch(/first\/default\/0 +2\.0\.0 +main +active/);

      await world.must('undeploy', 'first', '--unit', world.systemId, '--wait', '60');
      await world.until(
        'nothing of it runs',
        () => world.running('first'),
        (list) => list.length === 0,
      );
      expect(isAlive(secondPid)).toBe(false);
      await world.untilCloud('the cloud sees it gone', (unit) =>
        (unit.instances ?? []).every((group) => group.item.id !== 'first'),
      );
    },
    STORY_MS,
  );

  test(
    '[CM-20] the same desired status again spawns nothing and restarts nothing',
    async () => {
      await publish('steady', '1.0.0');
      await world.deploy('steady', '1.0.0');
      const before = await world.running();
      const messagesBefore = await sentDesiredStatuses();
      await world.rest.send('POST', `/api/units/${world.systemId}/resend`);
      await world.until('it was sent and acknowledged', sentDesiredStatuses, (count) => count > messagesBefore);
      // Something that comes after it on the same link has had its effect: so has the repetition.
      await publish('after', '1.0.0');
      await world.deploy('after', '1.0.0');
      expect(await world.running('steady')).toEqual(before.filter((entry) => entry.itemId === 'steady'));
      await world.must('undeploy', 'after', '--unit', world.systemId, '--wait', '60');
    },
    STORY_MS,
  );
});

/** How many desired statuses the cloud has sent. */
async function sentDesiredStatuses(): Promise<number> {
  const messages = await world.rest.get<unknown[]>(`/api/units/${world.systemId}/messages?limit=1000`);
  return messages.filter((message) => JSON.stringify(message).includes('"desiredStatus"')).length;
}

describe('daemons that are killed at any moment', () => {
  let version = 0;

  /** An update of one item while another one runs; the daemon dies somewhere in the middle of it. */
  async function killDuringUpdate(daemon: UnitDaemon, seed: number): Promise<void> {
    const steadyPid = await pidOf('steady');
    version += 1;
    const wanted = `1.${version}.0`;
    await publish('moving', wanted, [{ name: 'noise', content: noise(2_000_000, version) }]);
    await world.rest.send('PUT', `/api/units/${world.systemId}/deployments/moving`, { version: wanted });
    // Seeds spread the moment over the length of an update.
    await new Promise((resolve) => setTimeout(resolve, (seed * 97) % 1000));
    await world.unit.supervisor.daemon(daemon).kill('SIGKILL');
    await world.until(
      `${wanted} is active, and nothing else of it`,
      () => world.cloudInstances('moving'),
      (list) => list.length > 0 && list.every((entry) => entry.version === wanted && entry.state === 'active'),
    );
    const pid = await pidOf('moving');
    expect(await readFile(`/proc/${pid}/root/version`, 'utf8')).toBe(`moving ${wanted}\n`);
    expect(await pidOf('steady')).toBe(steadyPid);
    await world.unit.supervisor.untilReady(daemon);
  }

  test.each(SEEDS)('[X-07] [CM-22] [CM-130] aos-cm, seed %i', (seed) => killDuringUpdate('aos-cm', seed), STORY_MS);
  test.each(SEEDS)('[X-07] [SM-58] aos-sm, seed %i', (seed) => killDuringUpdate('aos-sm', seed), STORY_MS);
  test.each(SEEDS)('[X-07] aos-iam, seed %i', (seed) => killDuringUpdate('aos-iam', seed), STORY_MS);
});

describe('what is refused changes nothing', () => {
  const evil: readonly (readonly [string, Entry])[] = [
    ['a path that climbs out', { name: '../outside', content: 'x' }],
    ['a device node', { name: 'dev/mem', type: 'character-device', devmajor: 1, devminor: 1 }],
  ];

  test.each(evil)(
    '[R-06] a layer with %s',
    async (what, entry) => {
      const itemId = `evil-${images}`;
      await publish(itemId, '1.0.0', [entry]);
      const before = await world.running();
      const { code, stderr } = await world.ctl(
        'deploy',
        itemId,
        '--version',
        '1.0.0',
        '--unit',
        world.systemId,
        '--wait',
        '60',
      );
      expect(code, what).toBe(1);
      expect(stderr).toMatch(new RegExp(entry.name.replaceAll('.', '\\.')));
      expect(await world.running()).toEqual(before);
      await world.must('undeploy', itemId, '--unit', world.systemId, '--wait', '60');
    },
    STORY_MS,
  );

  test(
    '[R-06] a layer with a file behind a symbolic link to an absolute path',
    async () => {
      await publish('evil-link', '1.0.0', [
        { name: 'escape', type: 'symlink', linkname: '/tmp' },
        { name: 'escape/written-outside', content: 'x' },
      ]);
      const { code, stderr } = await world.ctl(
        'deploy',
        'evil-link',
        '--version',
        '1.0.0',
        '--unit',
        world.systemId,
        '--wait',
        '60',
      );
      expect(code).toBe(1);
      expect(stderr).toMatch(/escape/);
      await world.must('undeploy', 'evil-link', '--unit', world.systemId, '--wait', '60');
    },
    STORY_MS,
  );
});

describe('secrets', () => {
  test('[X-01] every private key of the unit is in the token and cannot be exported', async () => {
    const pin = (await readFile(world.unit.layout.pinFile, 'utf8')).trim();
    process.env.SOFTHSM2_CONF = world.unit.layout.softhsmConf;
    const module = new pkcs11js.PKCS11();
    module.load(softhsmLibrary());
    module.C_Initialize();
    const exported: string[] = [];
    let count = 0;
    try {
      for (const slot of module.C_GetSlotList(true)) {
        if ((module.C_GetTokenInfo(slot).flags & pkcs11js.CKF_TOKEN_INITIALIZED) === 0) continue;
        const session = module.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION);
        module.C_Login(session, pkcs11js.CKU_USER, pin);
        module.C_FindObjectsInit(session, [{ type: pkcs11js.CKA_CLASS, value: pkcs11js.CKO_PRIVATE_KEY }]);
        const keys = module.C_FindObjects(session, 100);
        module.C_FindObjectsFinal(session);
        for (const key of keys) {
          count += 1;
          for (const type of [pkcs11js.CKA_VALUE, pkcs11js.CKA_PRIVATE_EXPONENT]) {
            try {
              module.C_GetAttributeValue(session, key, [{ type }]);
              exported.push(`attribute ${type} of key ${count}`);
            } catch (error) {
              // What the key does not have at all is no secret either.
              expect(String(error)).toMatch(/CKR_ATTRIBUTE_SENSITIVE|CKR_ATTRIBUTE_TYPE_INVALID/);
            }
          }
        }
        module.C_CloseSession(session);
      }
    } finally {
      module.C_Finalize();
      module.close();
    }
    expect(count).toBe(5);
    expect(exported).toEqual([]);
  });

  test('no PIN, password or key stands in a log', async () => {
    const pin = (await readFile(world.unit.layout.pinFile, 'utf8')).trim();
    const logs = await world.logs();
    expect(logs).not.toContain(pin);
    expect(logs).not.toMatch(/PRIVATE KEY/);
    expect(logs).not.toMatch(/secure_data/);
  });
});
