/** What the firmware of a node knows about two slots (spec/sm.md 6.6). */

/** Number of a slot, in the order of the configuration. */
export type SlotIndex = 0 | 1;

export interface BootState {
  /** The slot that this boot came from; undefined: from something else, or the firmware does not say. */
  readonly current: SlotIndex | undefined;
  /** The slot that is booted when nothing else is asked for; undefined: something else. */
  readonly main: SlotIndex | undefined;
  /** The slot of the next boot alone; undefined: none was asked for, or something else. */
  readonly next: SlotIndex | undefined;
}

/** The one of the two slots that this is not. */
export function otherSlot(slot: SlotIndex): SlotIndex {
  return slot === 0 ? 1 : 0;
}

/**
 * Each call is durable when it resolves, and can be repeated. All throw an AosError: `noMemory` when the firmware has no
 * room for variables, `notSupported` when they cannot be written, `runtime` in the words of what was asked.
 */
export interface BootChooser {
  /** Makes sure that the firmware can boot either slot; what is there already is left as it is. */
  prepare(signal: AbortSignal): Promise<void>;
  state(signal: AbortSignal): Promise<BootState>;
  /** The next boot, and only that one, is of this slot. */
  setNext(slot: SlotIndex, signal: AbortSignal): Promise<void>;
  /** Every boot is of this slot, unless another one is asked for the next one. Written only if it changes something. */
  setMain(slot: SlotIndex, signal: AbortSignal): Promise<void>;
}
