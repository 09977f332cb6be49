/** The two boot slots of a node: what is on record of them, and what was found of them (spec/sm.md 6.5 to 6.7). */
import { AosError, asAosError, type Logger, throwIfCanceled } from '../../core/index.ts';
import { type BootChooser, otherSlot, type SlotIndex } from '../../platform/boot/index.ts';
import type { Partition } from '../../platform/partitions/index.ts';
import type { NodeInfo } from '../model.ts';
import type { BootRecords } from './boot-records.ts';
import type { Installed, Pending } from './boot-state.ts';
import type { BootView } from './boot-view.ts';
import { type Component, defaultIdent, parseVersionFile } from './firmware-model.ts';

export interface BootHost {
  readonly slots: readonly [Partition, Partition];
  readonly chooser: BootChooser;
}

export interface BootSlotsOptions {
  readonly type: string;
  readonly node: NodeInfo;
  /** As they are called before they are found. */
  readonly slotNames: readonly [string, string];
  /** Finds the slots, and what tells the firmware which one to boot. */
  readonly find: (signal: AbortSignal) => Promise<BootHost>;
  readonly records: BootRecords;
  /** In the file system of a slot. */
  readonly versionFile: string;
  readonly logger: Logger;
}

export class BootSlots {
  readonly #options: BootSlotsOptions;
  #host: BootHost | undefined;
  #installed: Installed | undefined;
  #pending: Pending | undefined;
  #current: SlotIndex | undefined;
  /** Of what the factory wrote beside the installed one. */
  #otherVersion = '';
  #broken: AosError | undefined;
  #isUsable = false;

  constructor(options: BootSlotsOptions) {
    this.#options = options;
  }

  /**
   * The records, the firmware's words, and on a new node what its slots hold. What fails is no exception but `broken`, and
   * may be tried again. Throws `canceled`.
   */
  async open(signal: AbortSignal): Promise<void> {
    try {
      await this.#open(signal);
      this.#broken = undefined;
      this.#isUsable = true;
    } catch (error) {
      throwIfCanceled(signal);
      const { type, logger } = this.#options;
      const { code, message, exitCode } = asAosError(error, `runtime ${type}`);
      const text = `${message}; the slots are looked for again, at least once a minute`;
      // Said once, not with every look.
      if (this.#broken?.message !== text) logger.error({ runtime: type, error: text }, 'the boot slots cannot be used');
      this.#broken = new AosError(code, text, { cause: asAosError(error), exitCode });
    }
  }

  /** They were found, and stay. */
  get isUsable(): boolean {
    return this.#isUsable;
  }

  /** Why the slots cannot be used (spec/sm.md T-73). */
  get broken(): AosError | undefined {
    return this.#broken;
  }

  /** Once they are usable. */
  get host(): BootHost {
    return this.#host!;
  }

  /** Once they are usable. */
  get installed(): Installed {
    return this.#installed!;
  }

  get pending(): Pending | undefined {
    return this.#pending;
  }

  /** The slot that runs; undefined: the firmware does not say. */
  get current(): SlotIndex | undefined {
    return this.#current;
  }

  /** For people. */
  get devices(): readonly [string, string] {
    const slots = this.#host?.slots;
    return slots ? [slots[0].name, slots[1].name] : this.#options.slotNames;
  }

  get view(): BootView {
    return {
      installed: this.#installed,
      pending: this.#pending,
      current: this.#current,
      otherVersion: this.#otherVersion,
      broken: this.#broken,
    };
  }

  async setInstalled(installed: Installed): Promise<void> {
    await this.#options.records.installed.write(installed);
    if (installed.image) this.#otherVersion = '';
    this.#installed = installed;
  }

  async setPending(pending: Pending): Promise<void> {
    await this.#options.records.pending.write(pending);
    this.#pending = pending;
  }

  async dropPending(): Promise<void> {
    await this.#options.records.pending.remove();
    this.#pending = undefined;
  }

  /** What a slot says of itself, under the name of the node. Throws `notFound`, `invalidArgument`, `runtime`. */
  async look(slot: SlotIndex, signal: AbortSignal): Promise<Component> {
    const version = await this.#versionIn(slot, signal);
    return { ident: defaultIdent(this.#options.type, this.#options.node), version, manifestDigest: '' };
  }

  async #open(signal: AbortSignal): Promise<void> {
    const { find, records, logger, type } = this.#options;
    // What is on record is told even when the slots are not there.
    this.#pending = await records.pending.read();
    this.#installed = await records.installed.read();
    this.#host = await find(signal);
    const { chooser } = this.#host;
    await chooser.prepare(signal);
    const { current } = await chooser.state(signal);
    this.#current = current;
    if (current === undefined) logger.warn({ runtime: type }, 'the firmware booted none of the slots');
    const slot = current ?? 0;
    if (!this.#installed) {
      await this.setInstalled({ component: await this.look(slot, signal), slot, isMirrored: true });
    }
    // What a factory wrote beside may be another version.
    const isOfFactory = this.installed.component.manifestDigest === '' && !this.#pending;
    this.#otherVersion = isOfFactory ? await this.#otherVersionIn(otherSlot(slot), signal) : '';
  }

  async #versionIn(slot: SlotIndex, signal: AbortSignal): Promise<string> {
    const { versionFile } = this.#options;
    const { slots } = this.host;
    return parseVersionFile(await slots[slot].readText(versionFile, signal), `${versionFile} in ${slots[slot].name}`);
  }

  /** Empty: there is nothing that has one. */
  async #otherVersionIn(slot: SlotIndex, signal: AbortSignal): Promise<string> {
    try {
      return await this.#versionIn(slot, signal);
    } catch (error) {
      throwIfCanceled(signal);
      this.#options.logger.info({ slot, because: asAosError(error).message }, 'the other slot has no version');
      return '';
    }
  }
}
