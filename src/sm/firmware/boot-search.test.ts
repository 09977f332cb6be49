/** Boot slots that are not there when the node starts: who is told, and what becomes of it when they come. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AosError, type Clock, ERROR_CODES, instanceId, instanceKey } from '../../core/index.ts';
import { otherSlot } from '../../platform/boot/index.ts';
import type { FirmwareStart } from './firmware-parts.ts';
import { pauseMs, whenToLookAgain } from './look-again.ts';
import { firmware, Machine } from './machine-for-tests.ts';

const signal = new AbortController().signal;
/** Until this holds; a busy machine takes its time. */
const until = (check: () => void) => vi.waitFor(check, { timeout: 20_000, interval: 5 });
const MISSING = new AosError('notFound', 'no partition of this host has PARTLABEL=boot-a', { exitCode: 2 });

let machine: Machine;
beforeEach(() => {
  machine = new Machine();
});
afterEach(async () => {
  await machine.runtime?.close();
  machine.close();
});

const last = () => machine.changes.at(-1);
const isFound = () => machine.runtime.report().error === undefined;

/** The time for another look has come; resolves when it was taken. */
async function look(): Promise<void> {
  await until(() => expect(machine.looks).not.toEqual([]));
  machine.looks.shift()!();
  await until(() => expect(isFound() || machine.looks.length > 0).toBe(true));
}

async function bootWithout(wanted?: FirmwareStart): Promise<void> {
  machine.missing = MISSING;
  await machine.boot();
  await machine.launch(wanted);
}

async function bringSlots(): Promise<void> {
  machine.missing = undefined;
  await look();
  await machine.runtime.settled();
}

describe('slots that are not there', () => {
  test('[SM-44] [SM-46] the reason is told with how often it was looked, and once they come all is well by itself', async () => {
    await bootWithout();
    const text =
      'runtime boot: no partition of this host has PARTLABEL=boot-a; the slots are looked for again, at least once a minute';
    const error = { aosCode: ERROR_CODES.notFound, exitCode: 2, message: MISSING.message };
    expect(machine.runtime.standing()).toMatchObject([{ state: 'failed', because: text, error }]);
    expect(machine.runtime.report()).toMatchObject({ error: text, tries: 1 });
    await look();
    expect(machine.runtime.report()).toMatchObject({ error: text, tries: 2 });
    expect(machine.changes).toEqual([]);

    await bringSlots();
    expect(machine.standings).toEqual(['1.0.0 active']);
    expect(machine.runtime.standing()).toMatchObject([{ info: { version: '1.0.0' }, state: 'active' }]);
    expect(Object.keys(machine.runtime.report())).not.toEqual(expect.arrayContaining(['error', 'tries']));
    expect(machine.looks).toEqual([]);
  });

  test('[SM-44] firmware that cannot be asked is asked again too', async () => {
    machine.chooser.failure = new AosError('notSupported', 'EFI variables are not at /sys/firmware/efi/efivars');
    await machine.boot();
    await machine.launch();
    expect(machine.runtime.report().error).toMatch(/EFI variables are not at/);
    machine.chooser.failure = undefined;
    await look();
    expect(machine.runtime.report()).toMatchObject({ installed: '1.0.0' });
  });

  test('[SM-46] the version on record is told even without them', async () => {
    await machine.untilRest(machine.component('2.0.0'));
    await machine.runtime.close();
    await bootWithout();
    expect(machine.runtime.report()).toMatchObject({ installed: '2.0.0', error: expect.stringMatching(/PARTLABEL/) });
    expect(machine.runtime.standing()).toMatchObject([{ info: { version: '2.0.0' }, state: 'failed' }]);
  });

  test('[SM-44] a component that was refused for want of slots is installed when they come, unasked', async () => {
    const wanted = machine.component('2.0.0');
    await bootWithout(wanted);
    expect(last()).toMatchObject({ state: 'failed', because: expect.stringMatching(/PARTLABEL=boot-a/) });
    await bringSlots();
    await until(() => expect(machine.reboots).toHaveLength(1));
    expect(last()).toMatchObject({ ident: wanted.info.ident, state: 'activating' });
    expect([machine.versionIn(0), machine.versionIn(1)]).toEqual(['1.0.0', '2.0.0']);
    await machine.runtime.close();
    await machine.untilRest(wanted);
    expect([machine.running, machine.harm]).toEqual(['2.0.0', []]);
  });

  test('[SM-44] so is one that was known before the start; its refusal is told when it comes to that', async () => {
    const wanted = machine.component('0.9.0');
    machine.missing = MISSING;
    await machine.boot();
    const items = new Map([[instanceKey(wanted.info.ident), wanted.item]]);
    expect(await machine.runtime.adopt([wanted.info], items, signal)).toMatchObject([{ state: 'failed' }]);
    await bringSlots();
    await until(() => expect(last()?.because).toMatch(/0.9.0 is lower than the committed 1.0.0/));
    expect(last()).toMatchObject({ state: 'failed', error: { aosCode: ERROR_CODES.wrongState } });
    expect(machine.versionIn(1)).toBe('1.0.0');
  });

  test('[SM-44] one whose image is not on the node says what it waits for', async () => {
    const wanted = machine.component('2.0.0');
    machine.missing = MISSING;
    await machine.boot();
    await machine.runtime.adopt([wanted.info], new Map(), signal);
    await bringSlots();
    expect(last()).toMatchObject({
      ...{ ident: wanted.info.ident, state: 'failed', error: { aosCode: ERROR_CODES.notFound } },
      because: 'the image of fw/fleet/0 2.0.0 is not on this node; it is fetched with the next update',
    });
  });

  test.each(['stop', 'forget'] as const)('[SM-44] what is no longer wanted is not installed: %s', async (how) => {
    const wanted = machine.component('2.0.0');
    await bootWithout(wanted);
    await machine.runtime[how](instanceId(wanted.info.ident));
    const { moments } = machine;
    await bringSlots();
    expect([machine.versionIn(1), machine.reboots]).toEqual(['1.0.0', []]);
    // Its first record is all that was written.
    expect(machine.moments).toBe(moments + 2);
  });

  test('[SM-44] a request looks at once, and takes up what went on', async () => {
    const wanted = machine.component('2.0.0');
    await machine.boot();
    await machine.launch(wanted);
    await bootWithout(wanted);
    expect(machine.running).toBe('2.0.0');
    machine.missing = undefined;
    await machine.runtime.start(wanted, signal);
    await machine.runtime.settled();
    expect(last()).toMatchObject({ ident: wanted.info.ident, state: 'active' });
    expect(machine.chooser.main).toBe(1);
  });

  test('[SM-44] [SM-46] [X-11] a trial goes on when they come: judged, and kept or left', async () => {
    for (const [version, kept] of [
      ['2.0.0', '2.0.0'],
      ['3.0.0', '2.0.0'],
    ] as const) {
      machine.sick.add('3.0.0');
      const wanted = machine.component(version);
      for (let boots = 0; boots < 3; boots += 1) {
        await bootWithout(wanted);
        await bringSlots();
        // It is written beside in the first of the boots.
        if (boots === 0) await until(() => expect(machine.chooser.next).toBe(otherSlot(machine.chooser.current!)));
        await machine.runtime.settled();
        await machine.runtime.close();
      }
      expect([machine.running, machine.versionIn(0), machine.versionIn(1)]).toEqual([kept, kept, kept]);
      expect(machine.harm).toEqual([]);
    }
    expect(last()).toMatchObject({ state: 'failed', because: 'health check: aos-sm.service is failed' });
  });

  test('[SM-44] a program that ends looks no more', async () => {
    await bootWithout();
    await machine.runtime.close();
    machine.missing = undefined;
    machine.looks.shift()!();
    await machine.runtime.settled();
    expect(machine.runtime.report().error).toMatch(/PARTLABEL/);
    expect(machine.records.installed.value).toBeUndefined();
  });

  test('[SM-44] another factory wrote the second slot: its version is told once both are there', async () => {
    machine.slots[1].content.set(firmware('0.9.0'));
    await bootWithout();
    expect(machine.runtime.report().slots.map(({ version }) => version)).toEqual(['', '']);
    await bringSlots();
    expect(machine.runtime.report().slots.map(({ version }) => version)).toEqual(['1.0.0', '0.9.0']);
  });
});

describe('when it is looked again', () => {
  test('[SM-44] pauses double from a second up to a minute', () => {
    const pauses = [1, 2, 3, 4, 5, 6, 7, 8, 1000, 100_000].map(pauseMs);
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000]);
  });

  /** Sleeps end when a test says so. */
  class Sleeper implements Clock {
    readonly sleeps: { readonly ms: number; readonly wake: () => void }[] = [];
    monotonicMs = () => 0;
    now = () => new Date(0);
    async sleep(ms: number, sleepSignal: AbortSignal): Promise<void> {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      sleepSignal.addEventListener('abort', () => reject(new AosError('canceled', 'stopped')), { once: true });
      this.sleeps.push({ ms, wake: resolve });
      await promise;
    }
  }

  let clock: Sleeper;
  let listeners: Set<() => void>;
  beforeEach(() => {
    clock = new Sleeper();
    listeners = new Set();
  });
  const begin = (tries: number, until = signal) =>
    whenToLookAgain({
      clock,
      watchDevices: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    })(tries, until);

  test('[SM-44] after the pause', async () => {
    const waited = begin(3);
    expect(clock.sleeps.map(({ ms }) => ms)).toEqual([4000]);
    clock.sleeps[0]!.wake();
    await waited;
    expect(listeners.size).toBe(0);
  });

  test('[SM-44] soon after devices came, once for many of them', async () => {
    const waited = begin(9);
    for (let devices = 0; devices < 5; devices += 1) for (const listener of listeners) listener();
    await until(() => expect(clock.sleeps.map(({ ms }) => ms)).toEqual([60_000, 1000]));
    clock.sleeps[1]!.wake();
    await waited;
    expect(listeners.size).toBe(0);
  });

  test('[SM-44] not at all when nobody wants it any more', async () => {
    const abort = new AbortController();
    const waited = begin(1, abort.signal);
    abort.abort();
    await expect(waited).rejects.toMatchObject({ code: 'canceled' });
    expect(listeners.size).toBe(0);
  });
});
