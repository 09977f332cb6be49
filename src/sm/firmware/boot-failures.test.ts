/** The runtime `boot` with a medium or a firmware that fails on the way: the running slot stays, and nothing bad is booted. */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AosError } from '../../core/index.ts';
import { Machine } from './machine-for-tests.ts';

const signal = new AbortController().signal;
/** Until this holds; a busy machine takes its time. */
const until = (check: () => void) => vi.waitFor(check, { timeout: 20_000, interval: 5 });

let machine: Machine;
beforeEach(() => {
  machine = new Machine();
});
afterEach(async () => {
  await machine.runtime.close();
  machine.close();
});

const last = () => machine.changes.at(-1);

describe('a medium or a firmware that fails on the way', () => {
  const wanted = () => machine.component('2.0.0');

  /** Told as failed with this, nothing was booted for it, and the next request is carried out. */
  async function expectFailureAndSuccessAfterwards(because: RegExp, mend: () => void): Promise<void> {
    expect(last()).toMatchObject({ state: 'failed', because: expect.stringMatching(because) });
    expect([machine.reboots, machine.versionIn(0), machine.harm]).toEqual([[], '1.0.0', []]);
    mend();
    await machine.runtime.start(wanted(), signal);
    await machine.runtime.settled();
    expect(machine.reboots).toHaveLength(1);
    await machine.untilRest(wanted());
    expect([machine.running, machine.harm]).toEqual(['2.0.0', []]);
  }

  test('[SM-44] a slot that does not hold what was written into it is not booted', async () => {
    const [, slot] = machine.slots;
    const read = slot.read;
    slot.read = async function* (bytes) {
      yield Buffer.alloc(bytes, 'worn out');
    };
    await machine.boot();
    expect(await machine.launch(wanted())).toBe('rest');
    expect(machine.runtime.report().update).toMatchObject({ phase: 'failed', version: '2.0.0' });
    await expectFailureAndSuccessAfterwards(/^slot 1 holds sha256:\w+, expected sha256:\w+/, () => {
      slot.read = read;
    });
  });

  test('[SM-44] a slot that cannot be written to its end is not booted', async () => {
    const [, slot] = machine.slots;
    const write = slot.write;
    slot.write = async (content, until) => {
      await write.call(slot, content, until);
      throw new AosError('runtime', 'cannot write /dev/vdb2: EIO', { exitCode: 5 });
    };
    await machine.boot();
    expect(await machine.launch(wanted())).toBe('rest');
    await expectFailureAndSuccessAfterwards(/^cannot write \/dev\/vdb2: EIO/, () => {
      slot.write = write;
    });
  });

  test('[SM-44] a slot that cannot be chosen for the next boot is told, and no reboot is wasted on it', async () => {
    await machine.boot();
    const unsubscribe = machine.runtime.onChange(({ because }) => {
      if (!because.startsWith('it is written')) return;
      machine.chooser.failure = new AosError('noMemory', 'variables are full');
      unsubscribe();
    });
    expect(await machine.launch(wanted())).toBe('rest');
    await expectFailureAndSuccessAfterwards(/^variables are full/, () => {
      machine.chooser.failure = undefined;
    });
  });

  test('[SM-44] a version that is well and cannot be made the main one is left', async () => {
    await machine.boot();
    await machine.launch(wanted());
    await machine.boot();
    const setMain = machine.chooser.setMain;
    machine.chooser.setMain = () => Promise.reject(new AosError('notSupported', 'variables are read-only'));
    expect(await machine.launch(wanted())).toBe('reboot');
    machine.chooser.setMain = setMain;
    await machine.untilRest(wanted());
    expect([machine.running, machine.versionIn(1)]).toEqual(['1.0.0', '1.0.0']);
    expect(last()).toMatchObject({ state: 'failed', because: 'variables are read-only' });
  });

  test('[SM-44] a return that cannot be asked for comes by the reboot alone', async () => {
    machine.sick.add('2.0.0');
    await machine.boot();
    await machine.launch(wanted());
    await machine.boot();
    machine.chooser.setNext = () => Promise.reject(new AosError('notSupported', 'variables are read-only'));
    expect(await machine.launch(wanted())).toBe('reboot');
    await machine.untilRest(wanted());
    expect(machine.running).toBe('1.0.0');
    expect(last()).toMatchObject({ state: 'failed', because: 'health check: aos-sm.service is failed' });
  });

  test('[SM-44] [SM-46] a commit that finds no room on the disk is told, and made when there is room', async () => {
    await machine.boot();
    await machine.launch(wanted());
    await machine.boot();
    const { installed } = machine.records;
    const write = installed.write;
    installed.write = () => Promise.reject(new AosError('noMemory', 'cannot write installed.json: ENOSPC'));
    expect(await machine.launch(wanted())).toBe('rest');
    expect(machine.runtime.report()).toMatchObject({ error: 'cannot write installed.json: ENOSPC', tries: 1 });
    expect(last()).toMatchObject({ state: 'activating' });
    installed.write = write;
    machine.looks.shift()!();
    await until(() => expect(last()).toMatchObject({ state: 'active' }));
    await machine.runtime.settled();
    expect(Object.keys(machine.runtime.report())).not.toEqual(expect.arrayContaining(['error', 'tries']));
    expect([machine.running, machine.versionIn(0), machine.harm]).toEqual(['2.0.0', '2.0.0', []]);
  });

  test('[SM-44] a copy of a slot that fails again and again is given up until the next boot', async () => {
    await machine.boot();
    await machine.launch(wanted());
    await machine.boot();
    const [slot] = machine.slots;
    const write = slot.write;
    let writes = 0;
    slot.write = () => {
      writes += 1;
      return Promise.reject(new AosError('runtime', 'cannot write slot 0: EIO'));
    };
    await machine.launch(wanted());
    for (let tries = 1; tries < 10; tries += 1) {
      expect(machine.runtime.report()).toMatchObject({ error: 'cannot write slot 0: EIO', tries });
      machine.looks.shift()!();
      await until(() => expect(machine.runtime.report().tries).toBe(tries + 1));
    }
    expect([machine.looks, writes]).toEqual([[], 10]);
    expect(last()).toMatchObject({ state: 'active' });
    slot.write = write;
    await machine.runtime.close();
    await machine.untilRest(wanted());
    expect([machine.running, machine.versionIn(0), machine.harm]).toEqual(['2.0.0', '2.0.0', []]);
  });
});
