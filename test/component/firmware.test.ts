/** aos-sm as a process with firmware in slots: updates over reboots, returns, refusals, and its end on the way. */
import { existsSync } from 'node:fs';
import { readFile, rename, rm } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { SLOT_BYTES } from './firmware-host.ts';
import { FirmwareNode } from './firmware-node.ts';
import { buildSm } from './sm-node.ts';
import { until as ask } from './until.ts';

const STORY_MS = 90_000;

let built: { readonly bundle: string; readonly directory: string };
let node: FirmwareNode;

beforeAll(async () => {
  built = await buildSm();
}, STORY_MS);
afterAll(() => rm(built.directory, { recursive: true, force: true }));
beforeEach(async () => {
  node = await FirmwareNode.create(built.bundle);
}, STORY_MS);
afterEach(() => node.close(), STORY_MS);

/** Waits for a fact. */
const until = (what: string, isSo: () => boolean) => ask(what, isSo, Boolean);

const versions = async () =>
  (await node.firmware('boot')).slots.map(({ version, isRunning }) => `${version}${isRunning ? '*' : ''}`);

describe('firmware in two slots', () => {
  test(
    '[SM-44] [SM-46] [SM-60] [CM-31] once both slots are there it is written, tried after a reboot, and committed; both versions are told',
    async () => {
      // One of the slots is on a disk that comes late.
      await rename(node.host.at('slot-1'), node.host.at('not yet'));
      await node.boot();
      const stream = await node.connect();
      expect(node.told.get('boot')).toMatchObject({
        state: 'failed',
        message: expect.stringMatching(/^there is no partition/),
      });
      expect(node.told.get('rootfs')).toMatchObject({ state: 'active', version: '1.0.0' });
      const wanted = await node.bootComponent('2.0.0');
      node.want(stream, wanted);
      await node.untilTold('fw', 'failed');
      await rename(node.host.at('not yet'), node.host.at('slot-1'));
      expect(await node.untilTold('boot', 'active')).toMatchObject({ version: '1.0.0' });
      const before = node.host.hash(0);
      await node.untilReboot();
      expect(node.told.get('fw')).toMatchObject({ state: 'activating', version: '2.0.0' });
      expect(await versions()).toEqual(['1.0.0*', '2.0.0']);
      expect([node.host.hash(0), node.host.hash(1) === before]).toEqual([before, false]);
      expect(await node.host.efi.numbers('BootNext')).toEqual([1]);

      await node.cut();
      await node.boot();
      await node.connect();
      await node.untilTold('fw', 'active');
      expect(await node.host.efi.numbers('BootOrder')).toEqual([1, 0]);
      await ask('the copy is known', versions, (now) => isDeepStrictEqual(now, ['2.0.0', '2.0.0*']));
      expect(node.host.hash(0)).toBe(node.host.hash(1));
      expect(node.host.hash(0)).not.toBe(before);
      expect(node.host.wantsReboot).toBe(false);
    },
    STORY_MS,
  );

  test(
    '[SM-44] [SM-46] [W7] a version whose services fail goes back by itself, and the CM is told why',
    async () => {
      await node.boot();
      const before = node.host.hash(0);
      node.want(await node.connect(), await node.bootComponent('2.0.0'));
      await node.untilReboot();
      await node.cut();
      await node.host.setHealth('failed');
      await node.boot();
      await node.untilReboot();
      await node.cut();
      await node.host.setHealth('active');
      await node.boot();
      await node.connect();
      const told = await node.untilTold('fw', 'failed');
      expect(told).toEqual({ state: 'failed', version: '2.0.0', message: 'health check: aos-demo.service is failed' });
      expect(node.told.get('boot')).toMatchObject({ state: 'active', version: '1.0.0' });
      await until('the copy', () => node.host.hash(1) === before);
      expect(await node.host.efi.numbers('BootOrder')).toEqual([0, 1]);
      expect([node.host.hash(0), node.host.wantsReboot]).toEqual([before, false]);
    },
    STORY_MS,
  );

  test(
    '[SM-44] what cannot be installed is refused with the reason, and no slot is touched',
    async () => {
      await node.boot();
      const stream = await node.connect();
      const before = [node.host.hash(0), node.host.hash(1)];
      const refusals = [
        [
          await node.bootComponent('2.0.0', { content: gzipSync(Buffer.alloc(SLOT_BYTES + 1)) }),
          /more than the 2097152/,
        ],
        [await node.bootComponent('2.0.1', { content: Buffer.from('no gzip') }), /the image is no gzip/],
        [await node.bootComponent('2.0.2', { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip' }), /of type/],
        [await node.bootComponent('0.9.0'), /version 0.9.0 is lower than the committed 1.0.0/],
      ] as const;
      for (const [wanted, message] of refusals) {
        node.want(stream, wanted);
        await until(wanted.version, () => {
          const told = node.told.get('fw');
          return told?.state === 'failed' && told.version === wanted.version;
        });
        expect(node.told.get('fw')?.message).toMatch(message);
      }
      expect([node.host.hash(0), node.host.hash(1)]).toEqual(before);
      expect(node.host.wantsReboot).toBe(false);
    },
    STORY_MS,
  );

  // Each step of it is a test of its own in src/sm/firmware/killed-firmware.test.ts; these are of the whole daemon.
  const POINTS = ['sm.firmware.record.renamed#5', 'platform.partitions.write#2', 'platform.boot.next-written#2'];
  test.each(POINTS)(
    '[SM-44] [R-01] [X-11] killed at %s while it is written: new in the end',
    async (point) => {
      await node.boot({ AOS_FAULT: point });
      const running = node.host.hash(0);
      node.want(await node.connect(), await node.bootComponent('2.0.0'));
      await node.sm.untilEnd();
      expect(node.host.hash(0)).toBe(running);
      await finish();
    },
    STORY_MS,
  );

  const TRIAL_POINTS = ['platform.boot.order-written', 'sm.firmware.record-remove', 'platform.partitions.write'];
  test.each(TRIAL_POINTS)(
    '[SM-44] [R-01] [X-11] killed at %s while it is committed: new in the end',
    async (point) => {
      await node.boot();
      node.want(await node.connect(), await node.bootComponent('2.0.0'));
      await node.untilReboot();
      await node.cut();
      await node.boot({ AOS_FAULT: point });
      const running = node.host.hash(1);
      await node.sm.untilEnd();
      expect(node.host.hash(1)).toBe(running);
      await finish();
    },
    STORY_MS,
  );

  /** Boots as often as the node wants it, at most three times. */
  async function finish(): Promise<void> {
    for (let boots = 0; boots < 3; boots += 1) {
      await node.boot();
      await node.connect();
      await until('a reboot, or the end', () => node.host.wantsReboot || node.told.get('fw')?.state === 'active');
      if (node.told.get('fw')?.state === 'active') break;
      await node.cut();
    }
    expect(node.told.get('fw')).toMatchObject({ state: 'active', version: '2.0.0' });
    await until('the copy', () => node.host.hash(0) === node.host.hash(1));
    expect(await versions()).toContain('2.0.0*');
  }
});

describe('the root file system', () => {
  test(
    '[SM-45] [SM-46] [SM-60] an increment is asked for, tried, judged, kept; another one returns',
    async () => {
      await node.boot();
      node.want(await node.connect(), await node.rootfsComponent('2.0.0', 'inc'));
      await node.untilReboot();
      expect(await readFile(node.host.at('rootfs/do_update'), 'utf8')).toBe('incremental');
      await node.cut();
      await node.boot();
      await node.connect();
      await node.untilReboot();
      expect(node.told.get('root')).toMatchObject({ state: 'activating', version: '2.0.0' });
      expect(existsSync(node.host.at('rootfs/do_apply'))).toBe(true);
      await node.cut();
      await node.boot();
      const stream = await node.connect();
      expect(await node.untilTold('root', 'active')).toMatchObject({ version: '2.0.0' });
      expect(node.told.has('rootfs')).toBe(false);
      expect(existsSync(node.host.at('rootfs/image.squashfs'))).toBe(false);

      node.want(stream, await node.rootfsComponent('3.0.0'));
      await node.untilReboot();
      await node.cut();
      await node.host.setHealth('failed');
      await node.boot();
      await node.untilReboot();
      await node.cut();
      await node.host.setHealth('active');
      await node.boot();
      await node.connect();
      const told = await node.untilTold('root', 'failed');
      expect(told).toMatchObject({ version: '3.0.0', message: 'health check: aos-demo.service is failed' });
      expect(node.told.get('rootfs')).toMatchObject({ state: 'active', version: '2.0.0' });
      expect(await readFile(node.host.at('version'), 'utf8')).toBe('VERSION="2.0.0"\n');
      expect(await node.firmware('rootfs')).toMatchObject({ installed: '2.0.0', update: { phase: 'failed' } });
    },
    STORY_MS,
  );
});
