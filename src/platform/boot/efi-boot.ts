/** The boot manager of EFI: `BootOrder` for every boot, `BootNext` for the next one (spec/sm.md 6.6). */
import { AosError, asAosError, faultPoint, type Logger } from '../../core/index.ts';
import type { BootChooser, BootState, SlotIndex } from './boot-chooser.ts';
import {
  bootVariable,
  buildLoadOption,
  buildNumbers,
  type PartitionAddress,
  parseLoadOption,
  parseNumbers,
} from './efi-format.ts';
import type { EfiVariables } from './efi-variables.ts';

/** A slot as the firmware finds it. */
export interface EfiSlot {
  /** GUID of its partition, lower case. */
  readonly guid: string;
  /** Where the partition is; needed only when the firmware has no entry for it. Throws what finding it fails with. */
  readonly address: () => Promise<PartitionAddress>;
}

export interface EfiBootOptions {
  readonly variables: EfiVariables;
  readonly slots: readonly [EfiSlot, EfiSlot];
  /** Path of the loader in the partition, for entries that are created. */
  readonly loader: string;
  readonly logger: Logger;
}

export class EfiBootChooser implements BootChooser {
  readonly #options: EfiBootOptions;

  constructor(options: EfiBootOptions) {
    this.#options = options;
  }

  /** An entry of the partition is adopted; a slot without one gets one, in front of the boot order. */
  async prepare(): Promise<void> {
    const { variables, slots, loader, logger } = this.#options;
    const guids = await this.#guidsByEntry();
    let free = Math.max(-1, ...guids.keys()) + 1;
    const created: number[] = [];
    for (const [index, slot] of slots.entries()) {
      if ([...guids.values()].some((list) => list.includes(slot.guid))) continue;
      const name = bootVariable(free);
      await variables.write(name, buildLoadOption(name, await slot.address(), loader));
      faultPoint('platform.boot.entry-created');
      logger.info({ slot: index, entry: name, partition: slot.guid }, 'the firmware has got an entry for a slot');
      created.push(free);
      free += 1;
    }
    // A power cut between the two writes leaves an entry that no order names; it is put behind the others.
    const known = new Set(await this.#order());
    const ours = [...(await this.#guidsByEntry())].filter(([, list]) => slots.some(({ guid }) => list.includes(guid)));
    const missing = ours.map(([entry]) => entry).filter((entry) => !known.has(entry) && !created.includes(entry));
    if (created.length + missing.length === 0) return;
    await this.#writeOrder([...created, ...known, ...missing]);
  }

  async state(): Promise<BootState> {
    const { variables } = this.#options;
    const guids = await this.#guidsByEntry();
    const only = async (name: string) => parseNumbers((await variables.read(name)) ?? Buffer.alloc(0))[0];
    const current = await only('BootCurrent');
    const [main] = await this.#order();
    const next = await only('BootNext');
    return {
      current: this.#slotOf(guids, current) ?? this.#slotWithGuid(await variables.loaderPartition()),
      main: this.#slotOf(guids, main),
      next: this.#slotOf(guids, next),
    };
  }

  async setNext(slot: SlotIndex): Promise<void> {
    const entry = await this.#entryOf(slot);
    faultPoint('platform.boot.next');
    await this.#options.variables.write('BootNext', buildNumbers([entry]));
    faultPoint('platform.boot.next-written');
  }

  async setMain(slot: SlotIndex): Promise<void> {
    const order = await this.#order();
    const guids = await this.#guidsByEntry();
    if (this.#slotOf(guids, order[0]) === slot) return;
    const entry = await this.#entryOf(slot);
    await this.#writeOrder([entry, ...order.filter((number) => number !== entry)]);
  }

  async #writeOrder(order: readonly number[]): Promise<void> {
    faultPoint('platform.boot.order');
    await this.#options.variables.write('BootOrder', buildNumbers(order));
    faultPoint('platform.boot.order-written');
  }

  async #order(): Promise<number[]> {
    return parseNumbers((await this.#options.variables.read('BootOrder')) ?? Buffer.alloc(0));
  }

  /** The first entry in the boot order, else any. */
  async #entryOf(slot: SlotIndex): Promise<number> {
    const guids = await this.#guidsByEntry();
    const order = await this.#order();
    const entry = [...order, ...guids.keys()].find((number) => this.#slotOf(guids, number) === slot);
    if (entry !== undefined) return entry;
    const { guid } = this.#options.slots[slot];
    throw new AosError('notFound', `the firmware has no boot entry for slot ${slot}, partition ${guid}`);
  }

  async #guidsByEntry(): Promise<Map<number, readonly string[]>> {
    const { variables, logger } = this.#options;
    const guids = new Map<number, readonly string[]>();
    for (const entry of await variables.bootEntries()) {
      try {
        guids.set(
          entry,
          parseLoadOption((await variables.read(bootVariable(entry))) ?? Buffer.alloc(0)).partitionGuids,
        );
      } catch (error) {
        logger.warn({ entry: bootVariable(entry), error: asAosError(error).message }, 'a boot entry cannot be read');
        guids.set(entry, []);
      }
    }
    return guids;
  }

  #slotOf(guids: ReadonlyMap<number, readonly string[]>, entry: number | undefined): SlotIndex | undefined {
    if (entry === undefined) return undefined;
    return (guids.get(entry) ?? []).map((guid) => this.#slotWithGuid(guid)).find((slot) => slot !== undefined);
  }

  #slotWithGuid(guid: string | undefined): SlotIndex | undefined {
    const index = this.#options.slots.findIndex((slot) => slot.guid === guid);
    return index === 0 || index === 1 ? index : undefined;
  }
}
