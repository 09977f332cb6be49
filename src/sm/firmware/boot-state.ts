/** What is to be done about the two boot slots, given what is on record and what runs (spec/sm.md 6.7). Pure. */
import { AosError } from '../../core/index.ts';
import { otherSlot, type SlotIndex } from '../../platform/boot/index.ts';
import { type Component, isSame, refuseDowngrade, restoreError, type StoredError } from './firmware-model.ts';

/** Starts of a slot, or returns from it, that may end elsewhere (spec/sm.md T-45). */
export const MAX_ATTEMPTS = 3;

/** The content that was written into a slot. */
export interface ImageFacts {
  readonly digest: string;
  readonly size: number;
}

/** The version that the node goes back to. */
export interface Installed {
  readonly component: Component;
  readonly slot: SlotIndex;
  /** Unknown for what the factory wrote. */
  readonly image?: ImageFacts | undefined;
  /** The other slot may be left as it is: it holds the same, or what the factory wrote. */
  readonly isMirrored: boolean;
}

/**
 * The update that goes on. `writing`: the slot is half new. `trying`: it is complete and to be booted, or it runs.
 * `returning`: it ran and was no good. `failed`: over; the slot is not booted any more.
 */
export type Phase = 'writing' | 'trying' | 'returning' | 'failed';

export interface Pending {
  readonly component: Component;
  readonly slot: SlotIndex;
  readonly phase: Phase;
  /** How often the slot was to be booted, or left. */
  readonly attempts: number;
  /** The boot in which the last of the attempts was asked for. */
  readonly bootId: string;
  readonly image?: ImageFacts | undefined;
  readonly error?: StoredError | undefined;
  /** It ran, or was to run: the version is not tried again. */
  readonly isTried: boolean;
}

export interface BootFacts {
  readonly installed: Installed;
  readonly pending?: Pending | undefined;
  /** The slot that runs; undefined: the firmware does not say. */
  readonly current: SlotIndex | undefined;
  readonly bootId: string;
}

export type BootStep =
  /** Nothing can be done. */
  | { readonly do: 'rest'; readonly because: string }
  /** No update: the slot that runs is booted from now on, and the other one becomes its copy if it has to. */
  | { readonly do: 'settle' }
  /** The firmware took the other slot, which holds the same. */
  | { readonly do: 'follow'; readonly slot: SlotIndex }
  /** Somebody had the other slot booted, and what is in it counts. */
  | { readonly do: 'look'; readonly slot: SlotIndex }
  /** The update is installed; only its record is left. */
  | { readonly do: 'forget' }
  | { readonly do: 'check health' }
  /** Boot the new slot once. */
  | { readonly do: 'try'; readonly attempt: number }
  /** Boot the old slot again. */
  | { readonly do: 'return'; readonly attempt: number }
  | { readonly do: 'fail'; readonly because: string };

export function nextBootStep({ installed, pending, current, bootId }: BootFacts): BootStep {
  if (current === undefined) return { do: 'rest', because: 'the firmware does not say which slot it booted' };
  if (!pending || pending.phase === 'failed') return stepWithoutUpdate(installed, current);
  if (isSame(pending.component, installed.component) && pending.slot === installed.slot) return { do: 'forget' };
  const isOnTrial = current === pending.slot;
  const attempt = pending.attempts > 0 && pending.bootId === bootId ? pending.attempts : pending.attempts + 1;
  switch (pending.phase) {
    case 'writing':
      // Whatever had it booted: a slot that was not finished is no firmware.
      if (isOnTrial) return { do: 'return', attempt };
      return { do: 'rest', because: 'the slot was not finished; it is written anew when it is wanted' };
    case 'trying':
      if (isOnTrial) return { do: 'check health' };
      if (attempt <= MAX_ATTEMPTS) return { do: 'try', attempt };
      return { do: 'fail', because: `slot ${pending.slot} did not come up in ${MAX_ATTEMPTS} boots` };
    case 'returning':
      if (!isOnTrial) return { do: 'fail', because: 'it ran and was no good' };
      if (attempt <= MAX_ATTEMPTS) return { do: 'return', attempt };
      return { do: 'rest', because: `the firmware did not return to slot ${installed.slot} in ${MAX_ATTEMPTS} boots` };
  }
}

function stepWithoutUpdate(installed: Installed, current: SlotIndex): BootStep {
  if (current === installed.slot) return { do: 'settle' };
  // Slots that a factory filled may differ, and at the first start it may not be known which of them runs.
  const isCopy = installed.isMirrored && installed.component.manifestDigest !== '';
  return isCopy ? { do: 'follow', slot: current } : { do: 'look', slot: current };
}

/** The slot that may be written: never the one that runs. Undefined when it is not known which that is. */
export function inactiveSlot(current: SlotIndex | undefined): SlotIndex | undefined {
  return current === undefined ? undefined : otherSlot(current);
}

/**
 * What a request for a component comes to. Throws why it is refused: another update goes on, the version failed its trial, or it
 * is lower than the committed one.
 */
export function answerRequest(
  component: Component,
  installed: Installed,
  pending: Pending | undefined,
): 'it is installed' | 'it is under way' | 'install' {
  if (isSame(component, installed.component)) return 'it is installed';
  if (pending) {
    if (isSame(pending.component, component)) {
      if (pending.phase === 'returning' || (pending.phase === 'failed' && pending.isTried)) {
        throw restoreError(pending.error ?? { code: 'failed', exitCode: 0, message: 'it failed' });
      }
      if (pending.phase === 'trying') return 'it is under way';
    } else if (pending.phase === 'trying' || pending.phase === 'returning') {
      throw new AosError('wrongState', `another update is already in progress: ${pending.component.version}`);
    }
  }
  refuseDowngrade(installed.component, component);
  return 'install';
}
