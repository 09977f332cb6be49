/**
 * Firmware on a real boot chain: UEFI, two slots for the boot chain, two for the root file system. One machine, in this
 * order. AOS_VM_FIRMWARE_CUTS is the number of power cuts, AOS_VM_SEED decides when they come.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CloudUnit } from '../../../src/cli/cloud-views.ts';
import { keepTraces, unitImage } from '../fixture.ts';
import { randomOf } from '../random.ts';
import { makeBootSlot, makeRootImage, rootVersion } from '../slots.ts';
import { UnitMachine } from '../unit-machine.ts';

const PACKAGING = join(import.meta.dirname, '..', '..', '..', 'packaging');
const CUTS = Array.from({ length: Number(process.env.AOS_VM_FIRMWARE_CUTS ?? '10') }, (_, index) => index + 1);
/** From the moment a version is wanted: download, writing, reboot, trial, and the copy afterwards. */
const LONGEST_MS = 60_000;
/** An update reboots the machine, and a busy host stretches that. */
const PATIENCE_MS = 420_000;
const STORY_MS = 900_000;
const HEALTH = 'firmware-health.service';
const CORE = '/usr/lib/aoscore/aos-sm.mjs';

const random = randomOf(Number(process.env.AOS_VM_SEED ?? '1'));
let unit: UnitMachine;

/** Version of what was booted, as the kernel's command line in the slot says. */
const RUNNING = "sed -n 's/.*machine[.]boot=\\([^ ]*\\).*/\\1/p' /proc/cmdline";
const DAEMONS_ARE_READY = 'systemctl is-active aos-iam aos-cm aos-sm';

async function publishBoot(version: string, ...more: readonly string[]): Promise<void> {
  const words = [...unit.machine.words, `machine.boot=${version}`, ...more];
  const slot = await makeBootSlot(version, unitImage(), words);
  const mediaType = 'application/vnd.aos.image.component.full.v1+gzip';
  await unit.publishComponent('boot', 'boot-fw', version, { mediaType, content: gzipSync(slot, { level: 1 }) });
}

async function publishRoot(version: string, kind: 'full' | 'inc', files: Readonly<Record<string, string>>) {
  const content = await makeRootImage({ '/etc/aos/version': rootVersion(version), ...files });
  const mediaType = `application/vnd.aos.image.component.${kind}.v1+squashfs`;
  await unit.publishComponent('rootfs', 'root-fw', version, { mediaType, content });
}

/** What the cloud sees of an instance of an item. */
function seen({ instances = [] }: CloudUnit, itemId: string, version: string) {
  const found = instances.find((each) => (each.item.id ?? each.item.codename) === itemId && each.version === version);
  return found?.instances[0];
}

const untilActive = (itemId: string, version: string) =>
  unit.untilCloud(
    `${itemId} ${version} is active`,
    (state) => state.online && seen(state, itemId, version)?.state === 'active',
    PATIENCE_MS,
  );

beforeAll(async () => {
  const config = JSON.parse(await readFile(join(PACKAGING, 'etc', 'aos', 'sm.cfg'), 'utf8')) as { runtimes: unknown[] };
  const common = { healthCheckServices: [HEALTH] };
  const partitions = ['PARTLABEL=boot-a', 'PARTLABEL=boot-b'];
  config.runtimes.push(
    { plugin: 'boot', type: 'boot', isComponent: true, config: { ...common, partitions } },
    { plugin: 'rootfs', type: 'rootfs', isComponent: true, config: common },
  );
  unit = await UnitMachine.create({
    name: 'firmware',
    slots: { version: '1.0.0' },
    random,
    files: {
      '/etc/aos/sm.cfg': JSON.stringify(config),
      // It is well unless the slot says otherwise.
      [`/etc/systemd/system/${HEALTH}`]:
        '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c "! grep -qw machine.ill /proc/cmdline"\n',
      '/etc/systemd/system/aos-sm.service.d/health.conf': `[Unit]\nWants=${HEALTH}\nAfter=${HEALTH}\n`,
    },
  });
  await unit.provision();
}, STORY_MS);

keepTraces(() => [unit?.machine]);
afterAll(() => unit?.close());

test(
  '[SM-44] [SM-46] what came with the node is told, and its slots are known to the firmware of the machine',
  async () => {
    await untilActive('boot', '1.0.0');
    await untilActive('rootfs', '1.0.0');
    // The firmware found its loader by itself this time. From now on there are entries for both slots.
    await unit.machine.must('systemd-run --no-block --quiet systemctl reboot');
    await unit.untilCloud('it goes away', ({ online }) => !online, PATIENCE_MS);
    await untilActive('boot', '1.0.0');
  },
  STORY_MS,
);

test(
  '[SM-44] [SM-46] [SM-60] [CM-31] a boot component is written to the other slot, booted, and kept',
  async () => {
    await publishBoot('2.0.0');
    await unit.want('boot-fw', '2.0.0');
    await untilActive('boot-fw', '2.0.0');
    expect(await unit.machine.must(RUNNING)).toBe('2.0.0\n');
    // Also after a reboot that nobody asked for.
    await unit.machine.cutPower();
    await unit.machine.boot();
    expect(await unit.machine.must(RUNNING)).toBe('2.0.0\n');
    await untilActive('boot-fw', '2.0.0');
  },
  STORY_MS,
);

test(
  '[SM-44] [SM-46] a version that boots and is not well goes back by itself, and the cloud sees why',
  async () => {
    await publishBoot('3.0.0', 'machine.ill');
    await unit.want('boot-fw', '3.0.0');
    const state = await unit.untilCloud(
      'the version has failed, and the old one runs',
      (now) => now.online && seen(now, 'boot-fw', '3.0.0')?.state === 'failed',
      PATIENCE_MS,
    );
    expect(seen(state, 'boot-fw', '3.0.0')?.errorInfo?.message).toMatch(/firmware-health\.service is failed/);
    await unit.machine.until(
      'the old version runs, and is ready',
      `[ "$(${RUNNING})" = 2.0.0 ] && ${DAEMONS_ARE_READY}`,
    );
  },
  STORY_MS,
);

test(
  '[SM-45] [SM-46] [CM-31] [X-18] a root file system brings a new core, an increment adds to it',
  async () => {
    const core = `${await unit.machine.must(`cat ${CORE}`)}\n// The core of root file system 2.0.0.\n`;
    await publishRoot('2.0.0', 'full', { [CORE]: core, '/etc/aos/colour': 'green' });
    await unit.want('root-fw', '2.0.0');
    await untilActive('root-fw', '2.0.0');
    expect(await unit.machine.must('cat /etc/aos/version')).toBe(rootVersion('2.0.0'));
    expect(await unit.machine.must(`tail -n 1 ${CORE}`)).toBe('// The core of root file system 2.0.0.\n');

    await publishRoot('2.1.0', 'inc', { '/etc/aos/colour': 'blue' });
    await unit.want('root-fw', '2.1.0');
    await untilActive('root-fw', '2.1.0');
    expect(await unit.machine.must(`cat /etc/aos/version /etc/aos/colour`)).toBe(`${rootVersion('2.1.0')}blue`);
    expect(await unit.machine.must(`tail -n 1 ${CORE}`)).toBe('// The core of root file system 2.0.0.\n');
  },
  STORY_MS,
);

let before = '2.0.0';

test.each(CUTS)(
  '[X-11] [R-01] [CM-31] power cut %i in an update of the boot chain: it boots, old or new, and gets where it should be',
  async (cut) => {
    const wanted = `4.${cut}.0`;
    await publishBoot(wanted);
    await unit.want('boot-fw', wanted);
    await sleep(random() * LONGEST_MS);
    const losses = await unit.machine.cutPower();
    await unit.machine.boot();
    const running = (await unit.machine.until('it says what runs', RUNNING)).trim();
    expect([before, wanted], `after ${JSON.stringify(losses)}`).toContain(running);
    await untilActive('boot-fw', wanted);
    expect(await unit.machine.until('it says what runs', RUNNING)).toBe(`${wanted}\n`);
    before = wanted;
  },
  STORY_MS,
);
