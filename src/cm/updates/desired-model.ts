/** What the cloud wants of the unit, and what of it was refused. */
import type { ErrorInfo, ItemType } from '../../core/index.ts';
import type {
  DesiredCertificate,
  DesiredChain,
  DesiredInstance,
  DesiredItem,
  DesiredNode,
  DesiredSubject,
  UnitConfig,
} from '../../protocol/index.ts';
import type { Origin } from './origin.ts';

/** Sections that describe a state are always there; those that order something once may be absent. */
export interface Desired {
  readonly nodes: readonly DesiredNode[];
  readonly unitConfig?: UnitConfig | undefined;
  readonly items: readonly DesiredItem[];
  readonly instances: readonly DesiredInstance[];
  readonly subjects: readonly DesiredSubject[];
  readonly certificates: readonly DesiredCertificate[];
  readonly certificateChains: readonly DesiredChain[];
  /** What was left out of the message because it is bad; what was said of it before stays in force. */
  readonly refusals?: Refusals | undefined;
  /** Who said it, where that is known; no part of what is wanted. */
  readonly origin?: Origin | undefined;
}

export const NOTHING_DESIRED: Desired = {
  nodes: [],
  items: [],
  instances: [],
  subjects: [],
  certificates: [],
  certificateChains: [],
};

/** Entries of a desired status that are bad, by name. */
export interface Refusals {
  readonly items: readonly RefusedItem[];
  readonly instances: readonly RefusedInstance[];
}

export interface RefusedItem {
  readonly itemId: string;
  readonly type: ItemType;
  /** Empty when it cannot be told. */
  readonly version: string;
  readonly error: ErrorInfo;
}

export interface RefusedInstance {
  readonly itemId: string;
  readonly subjectId: string;
  readonly error: ErrorInfo;
}
