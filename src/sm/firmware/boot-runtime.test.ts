/** The runtime `boot` on a machine in memory: updates, returns, refusals, and cuts of the power at every moment. */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AosError, ERROR_CODES, instanceId } from '../../core/index.ts';
import { type ComponentOptions, firmware, Machine, SLOT_BYTES } from './machine-for-tests.ts';

const signal = new AbortController().signal;

let machine: Machine;
beforeEach(() => {
  machine = new Machine();
});
afterEach(async () => {
  await machine.runtime?.close();
  machine.close();
});

const last = () => machine.changes.at(-1);

describe('an update', () => {
  test('[SM-44] [SM-46] [CM-31] the other slot is written, tried once, and committed when its services are active', async () => {
    const wanted = machine.component('2.0.0');
    await machine.boot();
    expect(await machine.launch(wanted)).toBe('reboot');
    expect(last()).toMatchObject({ ident: wanted.info.ident, state: 'activating' });
    expect([machine.versionIn(0), machine.versionIn(1)]).toEqual(['1.0.0', '2.0.0']);
    expect(await machine.chooser.state()).toEqual({ current: 0, main: 0, next: 1 });
    expect(machine.runtime.standing()).toMatchObject([{ info: { version: '1.0.0' }, state: 'active' }]);

    await machine.boot();
    expect(machine.running).toBe('2.0.0');
    expect(await machine.launch(wanted)).toBe('rest');
    expect(machine.changes.slice(-2).map(({ state }) => state)).toEqual(['activating', 'active']);
    expect(await machine.chooser.state()).toEqual({ current: 1, main: 1, next: undefined });
    expect([machine.versionIn(0), machine.versionIn(1)]).toEqual(['2.0.0', '2.0.0']);
    expect(machine.runtime.standing()).toEqual([]);
    expect(machine.harm).toEqual([]);
  });

  test('[SM-44] [SM-46] versions of both slots are told before, while and after', async () => {
    const versions = () =>
      machine.runtime.report().slots.map(({ version, isRunning }) => `${version}${isRunning ? '*' : ''}`);
    machine.slots[1].content.set(firmware('0.9.0'));
    const wanted = machine.component('2.0.0');
    await machine.boot();
    await machine.launch();
    expect(versions()).toEqual(['1.0.0*', '0.9.0']);
    machine.startRuntime();
    await machine.launch();
    expect(versions()).toEqual(['1.0.0*', '0.9.0']);
    await machine.launch(wanted);
    expect(versions()).toEqual(['1.0.0*', '2.0.0']);
    expect(machine.runtime.report().update).toMatchObject({ version: '2.0.0', phase: 'trying', attempts: 1 });
    await machine.boot();
    await machine.launch(wanted);
    expect(versions()).toEqual(['2.0.0', '2.0.0*']);
    expect(machine.runtime.report().update).toBeUndefined();
  });

  test('[SM-46] firmware that came with the node is told under its own name', async () => {
    await machine.boot();
    await machine.launch();
    const ident = { itemId: 'boot', subjectId: 'main', instance: 0, type: 'component', preinstalled: true };
    expect(machine.runtime.standing()).toMatchObject([
      { info: { ident, version: '1.0.0', runtimeId: machine.runtime.runtimeId }, state: 'active' },
    ]);
    expect(machine.runtime.info()).toMatchObject({ type: 'boot', maxInstances: 1 });
  });

  test('[SM-44] [SM-46] a slot that is known only after another boot is told by what is in it', async () => {
    machine.slots[1].content.set(firmware('1.1.0'));
    await machine.boot();
    machine.chooser.current = undefined;
    await machine.launch();
    expect(machine.runtime.standing()).toMatchObject([{ info: { version: '1.0.0' } }]);
    machine.chooser.main = 1;
    await machine.boot();
    await machine.launch();
    expect(machine.runtime.standing()).toMatchObject([{ info: { version: '1.1.0' }, state: 'active' }]);
    expect([machine.versionIn(0), machine.versionIn(1)]).toEqual(['1.0.0', '1.1.0']);
  });

  test('[SM-44] [W7] firmware goes on from version to version, each in the slot that does not run', async () => {
    for (const version of ['2.0.0', '3.0.0', '4.0.0']) await machine.untilRest(machine.component(version));
    expect(machine.running).toBe('4.0.0');
    expect(machine.chooser.main).toBe(1);
    expect(machine.harm).toEqual([]);
  });

  test('[SM-44] what is installed is not installed again', async () => {
    const wanted = machine.component('2.0.0');
    await machine.untilRest(wanted);
    const { moments } = machine;
    await machine.runtime.start(wanted, signal);
    expect(machine.moments).toBe(moments);
    expect(last()).toMatchObject({ state: 'active', because: 'it is installed' });
  });

  test('[SM-60] a restart of the program before the reboot asks for it again, and does not count it', async () => {
    const wanted = machine.component('2.0.0');
    await machine.boot();
    await machine.launch(wanted);
    for (let restarts = 0; restarts < 5; restarts += 1) {
      machine.startRuntime();
      expect(await machine.launch(wanted)).toBe('reboot');
    }
    expect(machine.runtime.report().update).toMatchObject({ phase: 'trying', attempts: 1 });
    expect(new Set(machine.reboots).size).toBe(1);
  });

  test('[SM-44] another version has to wait for the one that is tried', async () => {
    await machine.boot();
    await machine.launch(machine.component('2.0.0'));
    const other = machine.runtime.start(machine.component('3.0.0'), signal);
    await expect(other).rejects.toThrow(/another update is already in progress: 2.0.0/);
    await expect(other).rejects.toMatchObject({ code: 'wrongState' });
  });

  test('[SM-44] a component that is no longer wanted stays, under the name of the node', async () => {
    const wanted = machine.component('2.0.0');
    await machine.untilRest(wanted);
    await machine.runtime.stop(instanceId(wanted.info.ident));
    expect(machine.runtime.standing()).toMatchObject([{ info: { version: '2.0.0', ident: { preinstalled: true } } }]);
  });
});

describe('a version that is no good', () => {
  test('[SM-44] [SM-46] [W7] it goes back by itself when a service fails, and the reason is told afterwards', async () => {
    machine.sick.add('2.0.0');
    const wanted = machine.component('2.0.0');
    await machine.untilRest(wanted);
    expect(machine.running).toBe('1.0.0');
    expect(machine.reboots).toHaveLength(2);
    expect(last()).toMatchObject({
      ident: wanted.info.ident,
      state: 'failed',
      because: 'health check: aos-sm.service is failed',
      error: { aosCode: ERROR_CODES.failed, message: 'health check: aos-sm.service is failed' },
    });
    expect(machine.runtime.standing()).toMatchObject([{ info: { version: '1.0.0' }, state: 'active' }]);
    expect([machine.versionIn(0), machine.versionIn(1)]).toEqual(['1.0.0', '1.0.0']);
    expect(machine.harm).toEqual([]);
  });

  test('[SM-44] it is not tried again, in this process or after a boot; another version is', async () => {
    machine.sick.add('2.0.0');
    const bad = machine.component('2.0.0');
    await machine.untilRest(bad);
    const { moments } = machine;
    await expect(machine.runtime.start(bad, signal)).rejects.toThrow(/aos-sm.service is failed/);
    expect(machine.moments).toBe(moments);
    await machine.boot();
    expect(await machine.launch(bad)).toBe('rest');
    await machine.untilRest(machine.component('2.0.1'));
    expect(machine.running).toBe('2.0.1');
  });

  test('[SM-44] a service that is not there counts as one that does not come up', async () => {
    const wanted = machine.component('2.0.0');
    await machine.boot();
    await machine.launch(wanted);
    await machine.boot();
    machine.units.states.delete('aos-sm.service');
    expect(await machine.launch(wanted)).toBe('reboot');
    expect(last()?.because).toMatch(/health check: aos-sm.service: this node has no unit/);
  });

  test('[SM-44] a slot that does not come up is tried three times', async () => {
    machine.dead.add('2.0.0');
    await machine.untilRest(machine.component('2.0.0'));
    expect(machine.running).toBe('1.0.0');
    expect(machine.reboots).toHaveLength(3);
    expect(last()).toMatchObject({ state: 'failed', because: 'slot 1 did not come up in 3 boots' });
    expect(machine.versionIn(1)).toBe('1.0.0');
  });

  test('[SM-44] firmware that forgets what was asked for ends no worse', async () => {
    machine.chooser.ignoresNext = true;
    await machine.untilRest(machine.component('2.0.0'));
    expect(machine.running).toBe('1.0.0');
    expect(last()?.because).toMatch(/did not come up in 3 boots/);
  });

  test('[SM-44] it stays where it is when the old slot cannot be read any more', async () => {
    await machine.untilRest(machine.component('2.0.0'));
    machine.sick.add('3.0.0');
    const wanted = machine.component('3.0.0');
    await machine.boot();
    await machine.launch(wanted);
    await machine.boot();
    machine.slots[1].content.fill(0);
    expect(await machine.launch(wanted)).toBe('rest');
    expect(machine.running).toBe('3.0.0');
  });
});

describe('a refusal', () => {
  const hash = (slot: 0 | 1) => createHash('sha256').update(machine.slots[slot].content).digest('hex');

  async function refused(version: string, options: ComponentOptions, code: string, because: RegExp): Promise<void> {
    await machine.boot();
    await machine.launch();
    const before = [hash(0), hash(1)];
    const started = machine.runtime.start(machine.component(version, options), signal);
    await expect(started).rejects.toThrow(because);
    await expect(started).rejects.toMatchObject({ code });
    await machine.runtime.settled();
    expect([hash(0), hash(1)]).toEqual(before);
    expect(machine.reboots).toEqual([]);
    expect(machine.harm).toEqual([]);
  }

  test('[SM-44] an image that is too big', () =>
    refused('2.0.0', { content: Buffer.alloc(SLOT_BYTES + 1) }, 'noMemory', /more than the 65536 bytes of the slot/));

  test('[SM-44] an image that is not that of its digest', () =>
    refused('2.0.0', { digest: `sha256:${'0'.repeat(64)}` }, 'invalidChecksum', /not that of its digest sha256:0000/));

  test('[SM-44] an image that is no gzip', () =>
    refused('2.0.0', { packed: firmware('2.0.0') }, 'invalidArgument', /the image is no gzip/));

  test('[SM-44] an image that is cut short', () =>
    refused('2.0.0', { packed: gzipSync(firmware('2.0.0')).subarray(0, 100) }, 'invalidArgument', /is no gzip/));

  test('[SM-44] an empty image', () =>
    refused('2.0.0', { content: Buffer.alloc(0) }, 'invalidArgument', /the image is empty/));

  test.each([
    'application/vnd.aos.image.component.inc.v1+squashfs',
    'application/vnd.aos.image.component.full.v1+squashfs',
    'application/vnd.oci.image.layer.v1.tar+gzip',
    '',
  ])('[SM-44] an image of the wrong type: "%s"', (mediaType) =>
    refused('2.0.0', { mediaType }, 'invalidArgument', /expected application\/vnd.aos.image.component.full.v1\+gzip/),
  );

  test('[SM-44] [W7] a version that is lower than the committed one', async () => {
    await machine.untilRest(machine.component('2.0.0'));
    machine.reboots.length = 0;
    await refused('1.9.0', {}, 'wrongState', /1.9.0 is lower than the committed 2.0.0/);
    expect(machine.running).toBe('2.0.0');
  });

  test('[SM-44] no inactive slot: it is in use', () => {
    machine.slots[1].busy = 'it is mounted at /mnt';
    return refused('2.0.0', {}, 'wrongState', /no inactive slot: it is mounted at \/mnt/);
  });

  test('[SM-44] no inactive slot: nobody knows which one runs', async () => {
    await machine.boot();
    machine.chooser.current = undefined;
    machine.startRuntime();
    await machine.launch();
    const before = [hash(0), hash(1)];
    await expect(machine.runtime.start(machine.component('2.0.0'), signal)).rejects.toThrow(/no inactive slot/);
    expect([hash(0), hash(1)]).toEqual(before);
  });

  test.each([
    ['noMemory', 'EFI variables are full'],
    ['notSupported', 'EFI variables are read-only'],
  ] as const)('[SM-44] variables that cannot be written: %s', async (code, text) => {
    await machine.boot();
    await machine.launch();
    const before = [hash(0), hash(1)];
    machine.chooser.failure = new AosError(code, text);
    const started = machine.runtime.start(machine.component('2.0.0'), signal);
    await expect(started).rejects.toMatchObject({ code, message: text });
    expect([hash(0), hash(1)]).toEqual(before);
    machine.chooser.failure = undefined;
    await machine.untilRest(machine.component('2.0.0'));
    expect(machine.running).toBe('2.0.0');
  });

  test('[SM-44] a component without a layer', async () => {
    await machine.boot();
    await machine.launch();
    const wanted = machine.component('2.0.0');
    const item = { ...wanted.item, manifest: { ...wanted.item.manifest, layers: [] }, files: [] };
    await expect(machine.runtime.start({ ...wanted, item }, signal)).rejects.toThrow(/fw\/fleet\/0 2.0.0 has no layer/);
  });

  test('[SM-44] slots that cannot be used fail the component and nothing else', async () => {
    machine.slots[0].content.fill(0);
    machine.chooser.boot();
    machine.startRuntime();
    expect(await machine.launch(machine.component('2.0.0'))).toBe('rest');
    expect(last()).toMatchObject({
      state: 'failed',
      because: expect.stringMatching(/^runtime boot: cannot read aos\/version in slot 0;/),
    });
    expect(machine.runtime.standing()).toMatchObject([{ state: 'failed', error: { aosCode: ERROR_CODES.notFound } }]);
    expect(machine.runtime.report().error).toMatch(/cannot read aos\/version/);
  });
});

describe('the power is cut', () => {
  test('[SM-44] [R-01] [X-11] at each moment of an update: old or new, and new in the end', async () => {
    await machine.boot();
    await machine.launch(machine.component('2.0.0'));
    const { moments } = machine;
    await machine.boot();
    await machine.launch(machine.component('2.0.0'));
    const all = moments + machine.moments;
    expect(all).toBeGreaterThan(20);
    for (let first = 1; first <= all; first += 1) {
      const one = new Machine();
      try {
        const cuts = first <= moments ? [first] : [Number.POSITIVE_INFINITY, first - moments];
        await one.untilRest(one.component('2.0.0'), cuts);
        expect([first, one.running, one.versionIn(0), one.versionIn(1)]).toEqual([first, '2.0.0', '2.0.0', '2.0.0']);
        expect(one.harm).toEqual([]);
      } finally {
        one.close();
      }
    }
  });

  test('[SM-44] [R-01] [X-11] at random moments of random boots, whatever the new version is like', async () => {
    const moment = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constant(Number.POSITIVE_INFINITY));
    const kind = fc.constantFrom('good', 'sick', 'dead');
    await fc.assert(
      fc.asyncProperty(
        kind,
        fc.array(moment, { maxLength: 2 }),
        fc.array(moment, { maxLength: 2 }),
        async (is, a, b) => {
          const one = new Machine();
          try {
            if (is === 'sick') one.sick.add('2.0.0');
            if (is === 'dead') one.dead.add('2.0.0');
            await one.untilRest(one.component('2.0.0'), a);
            expect(one.running).toBe(is === 'good' ? '2.0.0' : '1.0.0');
            expect(one.versionIn(1)).toBe(one.running);
            await one.untilRest(one.component('3.0.0'), b);
            expect([one.running, one.versionIn(0), one.versionIn(1)]).toEqual(['3.0.0', '3.0.0', '3.0.0']);
            expect(one.harm).toEqual([]);
          } finally {
            one.close();
          }
        },
      ),
      { numRuns: 80 },
    );
  });
});
