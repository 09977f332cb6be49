/** The link to the cloud breaks at every boundary between two messages of an update. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OciLayout } from '../../src/cli/publish/oci-layout.ts';
import { prepareLayout } from '../../src/cli/publish/prepare-layout.ts';
import { uploadItem } from '../../src/cli/publish/upload-item.ts';
import { busyboxLayer, writeImage } from './image.ts';
import { World } from './world.ts';

const STORY_MS = 120_000;
const tag = randomBytes(3).toString('hex');
const [STEADY, MOVING] = [`steady-${tag}`, `moving-${tag}`] as const;
/** Fewer messages than any update has; more boundaries than this are expected. */
const FEWEST_BOUNDARIES = 20;
const MOST_BOUNDARIES = 100;

let world: World;

beforeAll(async () => {
  // What is gathered for seconds on a device belongs to the update here, and nobody waits long for the next session.
  const cm = {
    unitStatusSendTimeout: '50ms',
    alerts: { sendPeriod: '100ms' },
    cloudReconnect: { first: '10ms', longest: '20ms' },
  };
  world = await World.create({ unit: { config: { cm } } });
  await world.provision();
  await world.publishBusybox(STEADY, '1.0.0');
  await publishMoving('1.0.0');
  await world.deploy(STEADY, '1.0.0');
  await world.deploy(MOVING, '1.0.0');
}, STORY_MS);

afterAll(() => world?.close(), STORY_MS);

/** In this process: there are many versions, each with an index, a manifest, documents and a layer of its own. */
async function publishMoving(version: string): Promise<void> {
  const script = 'echo "$0" >> /storage/starts; while :; do sleep 1000; done';
  const layers = [busyboxLayer(), [{ name: 'version', content: `${MOVING} ${version}\n` }]];
  const cmd = ['/bin/sh', '-c', script, version];
  const { signal } = new AbortController();
  const layout = await OciLayout.open(await writeImage(join(world.directory, version), { cmd, layers }), signal);
  try {
    const itemConfig = JSON.stringify({ author: version, quotas: { storageLimit: 1_000_000 } });
    const item = await prepareLayout(layout, { type: 'service', itemConfig });
    await uploadItem(world.rest, { ...item, id: MOVING, version, signal, progress: () => undefined });
  } finally {
    await layout.close();
  }
}

/** Versions of all starts of the instance, in order. */
async function starts(): Promise<string[]> {
  const file = join(world.unit.layout.var, 'storages', MOVING, 'default', '0', 'starts');
  return (await readFile(file, 'utf8')).trim().split('\n');
}

/** The next update, whose link breaks when so many messages have passed. Answers whether it broke. */
async function updateWithBreak(version: string, afterMessages: number): Promise<boolean> {
  const { cloud: before } = await world.untilUnit('it is connected', ({ cloud }) => cloud.state === 'connected');
  await world.rest.send('POST', `/api/units/${world.systemId}/disconnect`, { afterMessages });
  await world.wish(MOVING, version);
  await world.untilActive(MOVING, version);
  const { cloud: after } = await world.untilUnit(
    'the update has ended, and the cloud can know it',
    ({ update, cloud }) => update.state === 'none' && cloud.state === 'connected',
  );
  return after.since !== before.since;
}

test(
  '[CM-11] [CM-08] [X-07] [R-05] wherever it breaks, the unit becomes what is wanted, and nothing is started twice',
  async () => {
    const steady = await world.pidOf(STEADY);
    const expected = await starts();
    expect(expected).toEqual(['1.0.0']);
    let boundaries = 0;
    for (let hasBroken = true; hasBroken && boundaries < MOST_BOUNDARIES; boundaries += 1) {
      const version = `2.${boundaries}.0`;
      await publishMoving(version);
      hasBroken = await updateWithBreak(version, boundaries);
      expected.push(version);
      const where = `the link broke after ${boundaries} messages`;
      expect(await starts(), where).toEqual(expected);
      expect(await world.pidOf(STEADY), where).toBe(steady);
      const { items } = await world.unit.status();
      expect(items.map(({ itemId, version: found, state }) => `${itemId} ${found} ${state}`).sort(), where).toEqual([
        `${MOVING} ${version} installed`,
        `${STEADY} 1.0.0 installed`,
      ]);
      await world.untilCloud('the cloud knows the same', ({ items: known = [] }) =>
        known
          .filter(({ item }) => item.id === MOVING)
          .every((one) => one.version === version || one.state === 'removed'),
      );
    }
    expect(boundaries).toBeGreaterThan(FEWEST_BOUNDARIES);
    expect(boundaries, 'every boundary was tried').toBeLessThan(MOST_BOUNDARIES);
  },
  STORY_MS,
);
