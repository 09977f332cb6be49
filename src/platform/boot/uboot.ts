/**
 * The environment of U-Boot, by `fw_printenv` and `fw_setenv` (docs/firmware.md has the script of U-Boot's side).
 *
 * `aos_boot_main` is the slot of every boot, `aos_boot_next` that of the next one: U-Boot removes it before it boots.
 * It tells the kernel which one it took by `aos.slot=0` or `aos.slot=1` on the command line.
 */
import { readFile } from 'node:fs/promises';
import { AosError, asAosError, faultPoint } from '../../core/index.ts';
import { execProgram, mustExec } from '../program/index.ts';
import type { BootChooser, BootState, SlotIndex } from './boot-chooser.ts';

export interface UbootPrograms {
  readonly printenv: string;
  readonly setenv: string;
  /** Where the environment is; absent: as the programs are configured. */
  readonly config?: string | undefined;
}

const MAIN = 'aos_boot_main';
const NEXT = 'aos_boot_next';
const TIMEOUT_MS = 30_000;

export class UbootChooser implements BootChooser {
  readonly #programs: UbootPrograms;
  readonly #cmdline: string;

  constructor(programs: UbootPrograms, cmdline = '/proc/cmdline') {
    this.#programs = programs;
    this.#cmdline = cmdline;
  }

  async prepare(signal: AbortSignal): Promise<void> {
    await this.#read(MAIN, signal);
  }

  async state(signal: AbortSignal): Promise<BootState> {
    const cmdline = await readFile(this.#cmdline, 'utf8');
    return {
      current: slotOf(/(?:^|\s)aos\.slot=(\S+)/.exec(cmdline)?.[1]),
      // Without the variable U-Boot boots the first one.
      main: slotOf((await this.#read(MAIN, signal)) ?? '0'),
      next: slotOf(await this.#read(NEXT, signal)),
    };
  }

  async setNext(slot: SlotIndex, signal: AbortSignal): Promise<void> {
    await this.#write(NEXT, slot, signal);
  }

  async setMain(slot: SlotIndex, signal: AbortSignal): Promise<void> {
    if ((await this.#read(MAIN, signal)) !== String(slot)) await this.#write(MAIN, slot, signal);
  }

  async #write(name: string, slot: SlotIndex, signal: AbortSignal): Promise<void> {
    faultPoint('platform.boot.uboot');
    try {
      const { setenv } = this.#programs;
      await mustExec(setenv, this.#words([name, String(slot)]), { signal, timeoutMs: TIMEOUT_MS });
    } catch (error) {
      throw asAosError(error, `U-Boot variable ${name} was not written`);
    }
    faultPoint('platform.boot.uboot-written');
  }

  /** Undefined when there is no such variable: both programs call that an error. */
  async #read(name: string, signal: AbortSignal): Promise<string | undefined> {
    const { printenv } = this.#programs;
    const options = { signal, timeoutMs: TIMEOUT_MS };
    const { exitCode, output } = await execProgram(printenv, this.#words(['-n', name]), options);
    if (exitCode === 0) return output.trim();
    if (/not defined/.test(output)) return undefined;
    throw new AosError('runtime', `${printenv} ${name}: ${output.slice(0, 256)}`, { exitCode });
  }

  #words(args: readonly string[]): string[] {
    const { config } = this.#programs;
    return [...(config === undefined ? [] : ['-c', config]), ...args];
  }
}

function slotOf(text: string | undefined): SlotIndex | undefined {
  if (text === '0') return 0;
  return text === '1' ? 1 : undefined;
}
