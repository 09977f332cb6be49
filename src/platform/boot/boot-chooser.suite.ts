/** What every `BootChooser` must do; real ones and the fake pass the same. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { BootChooser } from './boot-chooser.ts';

export interface BootMachine {
  readonly chooser: BootChooser;
  /** The machine is switched off and on. */
  boot(): Promise<void> | void;
  close(): Promise<void> | void;
}

export function bootChooserSuite(name: string, make: () => Promise<BootMachine>): void {
  describe(name, () => {
    const signal = new AbortController().signal;
    let machine: BootMachine;

    beforeEach(async () => {
      machine = await make();
      await machine.chooser.prepare(signal);
      await machine.boot();
    });
    afterEach(() => machine.close());

    test('[SM-44] the first slot is booted until something else is said', async () => {
      expect(await machine.chooser.state(signal)).toEqual({ current: 0, main: 0, next: undefined });
    });

    test('[SM-44] a slot is booted once', async () => {
      await machine.chooser.setNext(1, signal);
      expect(await machine.chooser.state(signal)).toEqual({ current: 0, main: 0, next: 1 });
      await machine.boot();
      expect(await machine.chooser.state(signal)).toEqual({ current: 1, main: 0, next: undefined });
      await machine.boot();
      expect(await machine.chooser.state(signal)).toEqual({ current: 0, main: 0, next: undefined });
    });

    test('[SM-44] the last word about the next boot counts', async () => {
      await machine.chooser.setNext(1, signal);
      await machine.chooser.setNext(0, signal);
      await machine.boot();
      expect(await machine.chooser.state(signal)).toMatchObject({ current: 0 });
    });

    test('[SM-44] another slot is booted from now on, said once or twice', async () => {
      await machine.chooser.setMain(1, signal);
      await machine.chooser.setMain(1, signal);
      expect(await machine.chooser.state(signal)).toEqual({ current: 0, main: 1, next: undefined });
      for (let boots = 0; boots < 2; boots += 1) {
        await machine.boot();
        expect(await machine.chooser.state(signal)).toEqual({ current: 1, main: 1, next: undefined });
      }
    });

    test('[SM-44] preparing again changes nothing', async () => {
      await machine.chooser.setMain(1, signal);
      await machine.chooser.prepare(signal);
      expect(await machine.chooser.state(signal)).toEqual({ current: 0, main: 1, next: undefined });
    });
  });
}
