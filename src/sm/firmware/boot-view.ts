/** What is told of the two boot slots: to the CM as instances, to people as a report (spec/sm.md 6, 6.7). Pure. */
import { type AosError, toErrorInfo } from '../../core/index.ts';
import type { SlotIndex } from '../../platform/boot/index.ts';
import type { InstanceInfo } from '../model.ts';
import type { Installed, Pending } from './boot-state.ts';
import { type Component, componentOf, failureOf, isSame, standingInfo } from './firmware-model.ts';
import type { FirmwareChange, FirmwareReport, StandingInstance } from './firmware-parts.ts';

export interface BootView {
  readonly installed: Installed | undefined;
  readonly pending: Pending | undefined;
  readonly current: SlotIndex | undefined;
  /** Of what the factory wrote beside the installed one; empty: not known. */
  readonly otherVersion: string;
  /** Why the slots cannot be used. */
  readonly broken: AosError | undefined;
}

/** A component that the CM wants; nothing is said of what is to be started anew. */
export function statusOf(info: InstanceInfo, { installed, pending, broken }: BootView): FirmwareChange[] {
  const component = componentOf(info);
  const { ident } = info;
  if (broken) return [{ ident, state: 'failed', error: toErrorInfo(broken), because: broken.message }];
  if (installed && isSame(component, installed.component)) {
    return [{ ident, state: 'active', because: 'it is installed' }];
  }
  if (!pending || !isSame(component, pending.component)) return [];
  switch (pending.phase) {
    case 'writing':
      return [];
    case 'trying':
      return [{ ident, state: 'activating', because: 'it is tried' }];
    case 'returning':
      return [{ ident, state: 'failed', ...failureOf(pending.error) }];
    case 'failed':
      return pending.isTried ? [{ ident, state: 'failed', ...failureOf(pending.error) }] : [];
  }
}

export interface StandingParts {
  /** Whose name it is told under. */
  readonly ident: Component['ident'];
  readonly runtimeId: string;
  /** It has a name from the CM. */
  readonly isWanted: (component: Component) => boolean;
}

/** The installed version, unless the CM wants exactly that. */
export function standingOf(view: BootView, { ident, runtimeId, isWanted }: StandingParts): StandingInstance[] {
  const { installed, current, broken } = view;
  const { version = '', manifestDigest = '' } = installed?.component ?? {};
  const info = standingInfo({ ident, version, manifestDigest }, runtimeId);
  // What the CM wants is told by `statusOf`.
  if (installed && isWanted(installed.component)) return [];
  if (broken) return [{ info, state: 'failed', error: toErrorInfo(broken), because: broken.message }];
  if (!installed) return [];
  if (current === undefined || current === installed.slot) {
    return [{ info, state: 'active', because: 'it is installed' }];
  }
  return [{ info, state: 'inactive', because: 'the other slot is tried; it returns when that is no good' }];
}

export function bootReport(type: string, devices: readonly [string, string], view: BootView): FirmwareReport {
  const { installed, pending, current, broken } = view;
  return {
    type,
    ...(installed && { installed: installed.component.version }),
    slots: ([0, 1] as const).map((slot) => ({
      device: devices[slot],
      version: versionIn(slot, view),
      isRunning: current === slot,
    })),
    ...(pending && {
      update: {
        version: pending.component.version,
        phase: pending.phase,
        attempts: pending.attempts,
        ...(pending.error && { error: pending.error.message }),
      },
    }),
    ...(broken && { error: broken.message }),
  };
}

function versionIn(slot: SlotIndex, { installed, pending, otherVersion }: BootView): string {
  const isComplete = pending?.phase === 'trying' || pending?.phase === 'returning';
  if (isComplete && pending.slot === slot) return pending.component.version;
  if (!installed) return '';
  const isCopy = installed.isMirrored && installed.component.manifestDigest !== '';
  return installed.slot === slot || isCopy ? installed.component.version : otherVersion;
}
