/** What the local control sockets answer and `aosctl` shows. Plain data, no wire contract. */
import type {
  ErrorInfo,
  InstanceState,
  ItemState,
  ItemType,
  NodeState,
  UnitConfigState,
  UpdateState,
} from '../core/index.ts';

/** Answer of aos-cm to `/status`. */
export interface UnitReport {
  /** What keeps aos-cm from its work; absent when nothing does. */
  readonly waitsFor?: string;
  readonly systemId: string;
  readonly unitModel: string;
  readonly cloud: {
    /** State of the link, as its state machine names it. */
    readonly state: string;
    readonly url?: string;
    /** Since when it has been in this state; ISO 8601. */
    readonly since: string;
    readonly lastError?: string;
    /** Its kind: `ECONNREFUSED`, `CERT_HAS_EXPIRED`, `timeout`. */
    readonly lastErrorCode?: string;
  };
  readonly update: {
    readonly state: UpdateState;
    readonly since: string;
    /** Why it waits for its release. */
    readonly waitsFor?: string;
    readonly locks?: readonly { readonly owner: string; readonly reason: string; readonly until: string }[];
  };
  readonly unitConfig: { readonly state: UnitConfigState; readonly version?: string; readonly error?: ErrorInfo };
  readonly nodes: readonly NodeReport[];
  readonly items: readonly ItemReport[];
  readonly instances: readonly InstanceReport[];
}

export interface NodeReport {
  readonly nodeId: string;
  readonly nodeType: string;
  readonly title: string;
  readonly state: NodeState;
  readonly connected: boolean;
  readonly runtimes: readonly string[];
  readonly error?: ErrorInfo;
}

export interface ItemReport {
  readonly itemId: string;
  readonly type: ItemType;
  readonly version: string;
  readonly state: ItemState;
  readonly error?: ErrorInfo;
}

export interface InstanceReport {
  readonly itemId: string;
  readonly subjectId: string;
  readonly instance: number;
  readonly version: string;
  readonly nodeId: string;
  readonly runtimeId: string;
  readonly state: InstanceState;
  readonly error?: ErrorInfo;
}

/** Answer of aos-cm to `/networks`, one entry for each instance in each network. */
export interface NetworkReport {
  readonly networkId: string;
  readonly nodeId: string;
  readonly itemId: string;
  readonly subjectId: string;
  readonly instance: number;
  readonly ip: string;
  readonly hosts: readonly string[];
  readonly exposedPorts: readonly string[];
}

/**
 * Answer of aos-sm to `/usage`: counters of one moment. Two of them make a rate, whoever asks and how often.
 */
export interface UsageReport {
  /** ISO 8601. */
  readonly at: string;
  /** Milliseconds on the monotonic clock of the daemon. */
  readonly monotonicMs: number;
  readonly node: {
    readonly nodeId: string;
    readonly maxDmips: number;
    /** Hardware threads. */
    readonly threads: number;
    /** Time of all processors since boot, in jiffies. */
    readonly cpuIdle: number;
    readonly cpuTotal: number;
    readonly ramBytes: number;
    readonly totalRamBytes: number;
    readonly partitions: readonly { readonly name: string; readonly usedBytes: number; readonly totalBytes: number }[];
    readonly downloadBytes?: number;
    readonly uploadBytes?: number;
  };
  readonly instances: readonly InstanceUsageReport[];
}

export interface InstanceUsageReport {
  readonly id: string;
  readonly itemId: string;
  readonly subjectId: string;
  readonly instance: number;
  readonly version: string;
  readonly restarts: number;
  /** Processor time since its start, in microseconds. */
  readonly cpuUs: number;
  readonly ramBytes: number;
  readonly storageBytes?: number;
  readonly stateBytes?: number;
  readonly downloadBytes?: number;
  readonly uploadBytes?: number;
}

/** Answer of aos-cm to `/plan`: what would come of a desired status; nothing is changed. */
export interface PlanReport {
  readonly decision: 'nothing' | 'remember' | 'start';
  readonly because: string;
  readonly download: readonly PlannedItem[];
  /** What would stay on the disk, removed, until its time is over. */
  readonly remove: readonly PlannedItem[];
  /** Entries that would be refused. */
  readonly refused: readonly string[];
  readonly instances: readonly PlannedInstance[];
}

export interface PlannedItem {
  readonly itemId: string;
  readonly version: string;
}

export interface PlannedInstance {
  /** `item/subject/index`. */
  readonly name: string;
  readonly version: string;
  /**
   * `later`: where it would go depends on an image that must be downloaded first; `fail`: no place for it. `update`:
   * it changes its version where it is.
   */
  readonly do: 'keep' | 'start' | 'update' | 'move' | 'stop' | 'later' | 'fail';
  readonly nodeId?: string;
  readonly runtimeId?: string;
  /** Where it runs now, when it moves. */
  readonly from?: string;
  readonly because: string;
  readonly notChosen: readonly { readonly nodeId: string; readonly runtimeId?: string; readonly because: string }[];
}

/** Answer of aos-cm to `/bundle/apply`. */
export interface BundleReport {
  /** Digest of its list: the name of the bundle. */
  readonly bundle: string;
  readonly createdAt: string;
  /** `as it is`: the unit is as the bundle says, or on its way to it. */
  readonly outcome: 'accepted' | 'as it is';
  /** What shall be on the unit. */
  readonly items: readonly PlannedItem[];
}

/** Answer of aos-cm to `/why`: the chain of reasons for the present state of something, first causes first. */
export interface WhyReport {
  readonly kind: 'instance' | 'item' | 'node' | 'update';
  readonly id: string;
  /** Its present state in one sentence. */
  readonly now: string;
  readonly reasons: readonly WhyReason[];
}

export interface WhyReason {
  /** ISO 8601; absent for what holds at present. */
  readonly at?: string;
  readonly what: string;
  readonly because?: string;
}
