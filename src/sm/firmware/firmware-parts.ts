/** What the runtimes of firmware take from and give to the rest of the SM. */
import type { ErrorInfo, InstanceIdent, InstanceState } from '../../core/index.ts';
import type { InstalledItem, InstanceInfo } from '../model.ts';

export interface FirmwareStart {
  readonly info: InstanceInfo;
  readonly item: InstalledItem;
}

/** How a component does, and why. */
export interface FirmwareChange {
  readonly ident: InstanceIdent;
  readonly state: InstanceState;
  readonly error?: ErrorInfo | undefined;
  readonly because: string;
}

/** Firmware that is there without being asked for. */
export interface StandingInstance {
  readonly info: InstanceInfo;
  readonly state: InstanceState;
  readonly error?: ErrorInfo | undefined;
  readonly because: string;
}

/** For `aosctl`: what is where, and what goes on. */
export interface FirmwareReport {
  readonly type: string;
  readonly installed?: string | undefined;
  readonly slots: readonly {
    readonly device: string;
    /** Empty: not known. */
    readonly version: string;
    readonly isRunning: boolean;
  }[];
  readonly update?:
    | {
        readonly version: string;
        readonly phase: string;
        readonly attempts: number;
        readonly error?: string | undefined;
      }
    | undefined;
  /** Why nothing can be done here. */
  readonly error?: string | undefined;
  /** How often it was looked in vain whether that is over; absent: nothing is in the way. */
  readonly tries?: number | undefined;
}
