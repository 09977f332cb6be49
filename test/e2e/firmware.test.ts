/** Firmware of a whole unit: published, deployed, tried over reboots, and told to the cloud, as an operator sees it. */
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FirmwareHost } from '../component/firmware-host.ts';
import { writeFirmware } from './image.ts';
import { World } from './world.ts';

const STORY_MS = 180_000;

let host: FirmwareHost;
let world: World;

beforeAll(async () => {
  host = await FirmwareHost.create();
  const config = { cm: { unitStatusSendTimeout: '1s' }, sm: host.config };
  world = await World.create({ unit: { config, env: { 'aos-sm': host.env } } });
  await world.provision();
}, STORY_MS);

afterAll(async () => {
  await world?.close();
  await host?.close();
}, STORY_MS);

/** Publishes an image of a boot slot as its author does. */
async function publish(itemId: string, version: string, content: Buffer): Promise<void> {
  const directory = await writeFirmware(join(world.directory, `${itemId}-${version}`), gzipSync(content), 'boot');
  const item = ['--type', 'component', '--id', itemId, '--version', version];
  await world.must('publish', directory, ...item, '--config', join(directory, 'item.json'));
}

/** The power goes and comes: the firmware takes the slot that it was told to take. */
async function powerCycle(): Promise<void> {
  await host.boot();
  await world.unit.supervisor.daemon('aos-sm').kill('SIGKILL');
}

const untilReboot = () =>
  world.until(
    'the node wants a reboot',
    async () => host.wantsReboot,
    (wants) => wants,
  );

/** `version state` of all instances of an item that the cloud knows. */
async function cloudStates(itemId: string): Promise<string[]> {
  const instances = await world.cloudInstances(itemId);
  return instances.map(({ version, state }) => `${version} ${state}`);
}

test(
  '[CM-31] [SM-44] [SM-46] [W7] a new version is deployed, tried after a reboot, kept; one that is no good goes back, and the cloud sees why',
  async () => {
    await world.until(
      'the cloud knows what came with the node',
      () => cloudStates('boot'),
      (states) => states.join() === '1.0.0 active',
    );
    await publish('boot-fw', '2.0.0', await host.fileSystem('2.0.0'));
    await world.wish('boot-fw', '2.0.0');
    await untilReboot();
    await world.until(
      'the cloud sees it on its way',
      () => cloudStates('boot-fw'),
      (states) => states.join() === '2.0.0 activating',
    );
    await powerCycle();
    await world.untilActive('boot-fw', '2.0.0');
    expect(await host.efi.numbers('BootOrder')).toEqual([1, 0]);

    await publish('boot-fw', '3.0.0', await host.fileSystem('3.0.0'));
    await world.wish('boot-fw', '3.0.0');
    await untilReboot();
    await host.setHealth('failed');
    await powerCycle();
    await untilReboot();
    await host.setHealth('active');
    await powerCycle();
    const [failed] = await world.until(
      'the cloud sees that it failed',
      () => world.cloudInstances('boot-fw'),
      (list) => list.length === 1 && list[0]?.state === 'failed',
    );
    expect(failed).toMatchObject({ version: '3.0.0', error: { message: 'health check: aos-demo.service is failed' } });
    await world.until(
      'the cloud sees what runs',
      () => cloudStates('boot'),
      (states) => states.join() === '2.0.0 active',
    );
    expect(await world.must('instances')).toMatch(/boot-fw\S*\s+3\.0\.0 .*failed .*health check/);
    expect(host.wantsReboot).toBe(false);

    await publish('boot-fw', '3.0.1', await host.fileSystem('3.0.1'));
    await world.wish('boot-fw', '3.0.1');
    await untilReboot();
    await powerCycle();
    await world.untilActive('boot-fw', '3.0.1');
  },
  STORY_MS,
);
