/** The runtime `rootfs` with a machine that plays the initial RAM disk: updates, returns, refusals, cuts of the power. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test } from 'vitest';
import { AosError, ERROR_CODES, instanceId } from '../../core/index.ts';
import { RootfsMachine } from './rootfs-machine-for-tests.ts';
import { nextRootfsStep, type RootfsMark, type RootfsPhase } from './rootfs-state.ts';

const signal = new AbortController().signal;
const INCREMENT = 'application/vnd.aos.image.component.inc.v1+squashfs';

let machine: RootfsMachine;
beforeEach(() => {
  machine = new RootfsMachine();
});

const last = () => machine.changes.at(-1);
const marks = () => [...machine.files.keys()];

describe('an update', () => {
  test('[SM-45] [SM-46] [CM-31] it is asked for, tried, judged, kept, and told at each boot', async () => {
    const wanted = machine.component('2.0.0');
    await machine.boot();
    expect(await machine.launch(wanted)).toBe('reboot');
    expect(Object.fromEntries(machine.files)).toEqual({ do_update: 'full' });
    expect(last()).toMatchObject({ ident: wanted.info.ident, state: 'activating' });
    expect(machine.runtime.standing()).toMatchObject([{ info: { version: '1.0.0' }, state: 'active' }]);

    await machine.boot();
    expect([machine.version, marks()]).toEqual(['2.0.0', ['updated']]);
    expect(await machine.launch(wanted)).toBe('reboot');
    expect(marks()).toEqual(['updated', 'do_apply']);
    expect(last()).toMatchObject({ state: 'activating', because: 'its trial was good; it is kept' });
    expect(machine.runtime.standing()).toEqual([]);

    await machine.boot();
    expect(marks()).toEqual([]);
    expect(await machine.launch(wanted)).toBe('rest');
    const own = { itemId: 'rootfs', subjectId: 'main', preinstalled: true };
    expect(machine.changes.slice(-3)).toMatchObject([
      { ident: own, state: 'inactive' },
      { ident: wanted.info.ident, state: 'active' },
      { ident: wanted.info.ident, state: 'active' },
    ]);
    expect([machine.image, machine.harm]).toEqual([undefined, []]);
    expect(machine.runtime.report()).toMatchObject({ installed: '2.0.0' });
    expect(machine.runtime.report().update).toBeUndefined();
  });

  test('[SM-45] an increment is asked for as such', async () => {
    await machine.untilRest(machine.component('2.0.0', { mediaType: INCREMENT }));
    expect([machine.version, machine.kinds]).toEqual(['2.0.0', ['incremental']]);
  });

  test('[SM-45] the program starts again before the reboot: it is asked for again, and nothing is promoted', async () => {
    const wanted = machine.component('2.0.0');
    await machine.boot();
    await machine.launch(wanted);
    for (let restarts = 0; restarts < 5; restarts += 1) {
      machine.startRuntime();
      expect(await machine.launch(wanted)).toBe('reboot');
      expect(last()).toMatchObject({ state: 'activating' });
    }
    expect(machine.runtime.report()).toMatchObject({ installed: '1.0.0', update: { attempts: 1 } });
  });

  test('[SM-45] another version waits; the same one is under way', async () => {
    await machine.boot();
    await machine.launch(machine.component('2.0.0'));
    const { moments } = machine;
    await machine.runtime.start(machine.component('2.0.0'), signal);
    expect(machine.moments).toBe(moments);
    const other = machine.runtime.start(machine.component('3.0.0'), signal);
    await expect(other).rejects.toMatchObject({ code: 'wrongState' });
    await expect(other).rejects.toThrow(/another update is already in progress: 2.0.0/);
  });

  test('[SM-45] a component that is no longer wanted stays, under the name of the node', async () => {
    const wanted = machine.component('2.0.0');
    await machine.untilRest(wanted);
    expect(machine.runtime.standing()).toEqual([]);
    await machine.runtime.stop(instanceId(wanted.info.ident));
    expect(machine.runtime.standing()).toMatchObject([{ info: { version: '2.0.0', ident: { preinstalled: true } } }]);
  });
});

describe('a version that is no good', () => {
  test('[SM-45] [SM-46] [W7] a failed service takes it back, and the reason is told afterwards', async () => {
    machine.sick.add('2.0.0');
    const wanted = machine.component('2.0.0');
    await machine.boot();
    await machine.launch(wanted);
    await machine.boot();
    expect(await machine.launch(wanted)).toBe('reboot');
    expect(marks()).toEqual(['updated', 'failed']);
    await machine.boot();
    expect(await machine.launch(wanted)).toBe('rest');
    expect(machine.version).toBe('1.0.0');
    const message = 'health check: aos-sm.service is failed';
    expect(last()).toMatchObject({
      state: 'failed',
      because: message,
      error: { aosCode: ERROR_CODES.failed, message },
    });
    expect([marks(), machine.image]).toEqual([[], undefined]);
    expect(machine.runtime.standing()).toMatchObject([{ info: { version: '1.0.0' }, state: 'active' }]);
    expect(machine.runtime.report().update).toMatchObject({ version: '2.0.0', phase: 'failed', error: message });

    await expect(machine.runtime.start(wanted, signal)).rejects.toThrow(message);
    await machine.boot();
    expect(await machine.launch(wanted)).toBe('rest');
    await machine.untilRest(machine.component('2.0.1'));
    expect(machine.version).toBe('2.0.1');
  });

  test('[SM-45] a verdict stays one: a program that starts again asks for the return, and does not judge again', async () => {
    machine.sick.add('2.0.0');
    const wanted = machine.component('2.0.0');
    await machine.boot();
    await machine.launch(wanted);
    await machine.boot();
    await machine.launch(wanted);
    machine.units.states.set('aos-sm.service', 'active');
    machine.startRuntime();
    expect(await machine.launch(wanted)).toBe('reboot');
    expect(marks()).toEqual(['updated', 'failed']);
  });

  test('[SM-45] records that cannot be read are told; the next request reads them, and the trial is judged', async () => {
    const wanted = machine.component('2.0.0');
    await machine.boot();
    await machine.launch(wanted);
    await machine.boot();
    machine.pending.unreadable = new AosError('runtime', 'cannot read pending_instance.json: EIO');
    expect(await machine.launch(wanted)).toBe('rest');
    expect(last()).toMatchObject({ state: 'failed', because: expect.stringMatching(/pending_instance.json: EIO/) });
    expect(marks()).toEqual(['updated']);
    machine.pending.unreadable = undefined;
    await machine.runtime.start(wanted, signal);
    await machine.runtime.settled();
    expect(marks()).toEqual(['updated', 'do_apply']);
    await machine.untilRest(wanted);
    expect(machine.version).toBe('2.0.0');
  });

  test('[SM-45] an image that the initial RAM disk cannot apply', async () => {
    machine.bad.add('2.0.0');
    await machine.untilRest(machine.component('2.0.0'));
    expect(machine.version).toBe('1.0.0');
    expect(last()).toMatchObject({ state: 'failed', because: 'the initial RAM disk could not apply the image' });
    expect(marks()).toEqual([]);
  });

  test('[SM-45] an initial RAM disk that does nothing is asked three times', async () => {
    machine.isBlind = true;
    await machine.untilRest(machine.component('2.0.0'));
    expect(machine.reboots).toHaveLength(3);
    expect(last()?.because).toBe('it was not applied in 3 boots');
    expect([machine.version, marks(), machine.image]).toEqual(['1.0.0', [], undefined]);
  });
});

describe('a refusal', () => {
  test.each([
    [
      { mediaType: 'application/vnd.aos.image.component.full.v1+gzip' },
      'invalidArgument',
      /expected application.*squashfs/,
    ],
    [{ mediaType: 'application/vnd.oci.image.layer.v1.tar' }, 'invalidArgument', /expected application.*squashfs/],
    [{ digest: `sha256:${'1'.repeat(64)}` }, 'invalidChecksum', /not that of its digest/],
  ] as const)('[SM-45] %j', async (options, code, because) => {
    await machine.boot();
    await machine.launch();
    const started = machine.runtime.start(machine.component('2.0.0', options), signal);
    await expect(started).rejects.toThrow(because);
    await expect(started).rejects.toMatchObject({ code });
    expect([marks(), machine.image, machine.reboots, machine.pending.value]).toEqual([[], undefined, [], undefined]);
    await machine.untilRest(machine.component('2.0.0'));
    expect(machine.version).toBe('2.0.0');
  });

  test('[SM-45] [W7] a version that is lower than the committed one', async () => {
    await machine.untilRest(machine.component('2.0.0'));
    const lower = machine.runtime.start(machine.component('2.0.0-rc.1'), signal);
    await expect(lower).rejects.toThrow(/2.0.0-rc.1 is lower than the committed 2.0.0/);
    await expect(lower).rejects.toMatchObject({ code: 'wrongState' });
  });
});

describe('what is to be done', () => {
  const ident = { itemId: 'root', subjectId: 's', instance: 0, type: 'component', preinstalled: false } as const;
  const installed = { ident: { ...ident, preinstalled: true }, version: '1.0.0', manifestDigest: '' };
  const component = { ident, version: '2.0.0', manifestDigest: 'sha256:2' };

  function step(phase: RootfsPhase | undefined, present: readonly RootfsMark[], runningVersion = '1.0.0'): string {
    const pending = phase && { component, kind: 'full' as const, phase, attempts: 1, bootId: 'before' };
    return nextRootfsStep({ installed, pending, marks: new Set(present), runningVersion, bootId: 'now' }).do;
  }

  test.each<[RootfsPhase | undefined, readonly RootfsMark[], string]>([
    [undefined, [], 'clean'],
    [undefined, ['do_update', 'failed'], 'clean'],
    [undefined, ['updated'], 'rest'],
    ['preparing', [], 'prepare anew'],
    ['preparing', ['do_update'], 'request'],
    ['preparing', ['updated'], 'check health'],
    ['requested', ['updated'], 'check health'],
    ['requested', ['updated', 'failed'], 'check health'],
    ['requested', ['do_update'], 'request'],
    ['requested', ['failed'], 'fail'],
    ['requested', [], 'request'],
    ['applying', [], 'promote'],
    ['applying', ['do_apply'], 'promote'],
    ['applying', ['updated'], 'apply'],
    ['applying', ['updated', 'do_apply'], 'apply'],
    ['applying', ['failed'], 'fail'],
    ['returning', ['updated'], 'return'],
    ['returning', ['updated', 'failed'], 'return'],
    ['returning', ['failed'], 'fail'],
    ['returning', [], 'fail'],
  ])('[SM-45] phase %s with the marks %j: %s', (phase, present, expected) => {
    expect(step(phase, present)).toBe(expected);
  });

  test('[SM-45] an initial RAM disk that keeps the new one without a trial is believed', () => {
    expect(step('requested', [], '2.0.0')).toBe('promote');
  });
});

describe('the power is cut', () => {
  test('[SM-45] [R-01] [X-11] at random moments of random boots, whatever the new version is like', async () => {
    const moment = fc.oneof(fc.integer({ min: 1, max: 24 }), fc.constant(Number.POSITIVE_INFINITY));
    const cuts = fc.array(moment, { maxLength: 2 });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('good', 'sick', 'bad'), cuts, cuts, async (is, a, b) => {
        const one = new RootfsMachine();
        if (is === 'sick') one.sick.add('2.0.0');
        if (is === 'bad') one.bad.add('2.0.0');
        await one.untilRest(one.component('2.0.0'), a);
        expect([one.version, one.roots[one.kept]]).toEqual(Array(2).fill(is === 'good' ? '2.0.0' : '1.0.0'));
        await one.untilRest(one.component('3.0.0'), b);
        expect([one.version, one.roots[one.kept], one.harm, one.image]).toEqual(['3.0.0', '3.0.0', [], undefined]);
        expect([...one.files.keys()]).toEqual([]);
      }),
      { numRuns: 400 },
    );
  });
});
