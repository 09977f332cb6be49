/** A firmware in memory, with the power button that the real one does not show to programs. */
import type { AosError } from '../../core/index.ts';
import type { BootChooser, BootState, SlotIndex } from './boot-chooser.ts';

export class FakeBootChooser implements BootChooser {
  current: SlotIndex | undefined = 0;
  main: SlotIndex = 0;
  next: SlotIndex | undefined;
  /** It forgets what was asked for the next boot (spec/sm.md T-45). */
  ignoresNext = false;
  /** What every write fails with. */
  failure: AosError | undefined;
  /** Runs before and after each write: the moments of a power cut. */
  readonly #around: (what: string) => void;

  constructor(around: (what: string) => void = () => undefined) {
    this.#around = around;
  }

  /** The machine starts again: what was asked for once is forgotten. */
  boot(canBoot: (slot: SlotIndex) => boolean = () => true): void {
    const wanted = this.ignoresNext ? undefined : this.next;
    this.next = undefined;
    this.current = wanted !== undefined && canBoot(wanted) ? wanted : this.main;
  }

  async prepare(): Promise<void> {
    if (this.failure) throw this.failure;
  }

  async state(): Promise<BootState> {
    return { current: this.current, main: this.main, next: this.next };
  }

  async setNext(slot: SlotIndex): Promise<void> {
    this.#write('next', () => {
      this.next = slot;
    });
  }

  async setMain(slot: SlotIndex): Promise<void> {
    if (this.main === slot) return;
    this.#write('main', () => {
      this.main = slot;
    });
  }

  #write(what: string, write: () => void): void {
    if (this.failure) throw this.failure;
    this.#around(`before ${what}`);
    write();
    this.#around(`after ${what}`);
  }
}
