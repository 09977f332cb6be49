/** The plain data that placement decides about (spec/cm.md 4). Amounts: DMIPS and bytes. */
import type { ErrorInfo, InstanceIdent, NodeState } from '../../core/index.ts';
import type { AlertRules } from '../../oci/index.ts';

export interface Amounts {
  readonly cpu: number;
  readonly ram: number;
}

/** What an item's author or a quota says for the four reservable things; absent means not said. */
export interface ResourceAmounts {
  readonly cpu?: number | undefined;
  readonly ram?: number | undefined;
  readonly storage?: number | undefined;
  readonly state?: number | undefined;
}

/** A platform as a runtime offers it, or as an image asks for it (there only the architecture must be named). */
export interface Platform {
  readonly architecture: string;
  readonly variant?: string | undefined;
  readonly os?: string | undefined;
  readonly osVersion?: string | undefined;
  readonly osFeatures: readonly string[];
}

/** What placement must know of one manifest: its image and item configuration, read. */
export interface ManifestFacts {
  readonly digest: string;
  /** Runtime types it may run on; never empty. */
  readonly runtimes: readonly string[];
  /** True when the item configuration names its runtimes itself. */
  readonly namesRuntimes: boolean;
  readonly resources: readonly string[];
  readonly staysOnNode: boolean;
  readonly skipResourceLimits: boolean;
  readonly quotas: ResourceAmounts;
  readonly requested: ResourceAmounts;
  readonly platform: Platform;
  /** Handed to the SM; placement does not look at it. */
  readonly alertRules?: AlertRules | undefined;
}

/** A manifest whose configurations cannot be used, with the error that its instances get. */
export interface UnusableManifest {
  readonly digest: string;
  readonly error: ErrorInfo;
}

export function isUsable(manifest: ManifestFacts | UnusableManifest): manifest is ManifestFacts {
  return !('error' in manifest);
}

/** One version of an item, as its blobs describe it; or why it cannot be read. */
export type ItemFacts =
  | { readonly manifests: readonly (ManifestFacts | UnusableManifest)[] }
  | { readonly error: ErrorInfo };

export interface RuntimeFacts {
  readonly runtimeId: string;
  readonly type: string;
  readonly platform: Platform;
  /** An own pool of the runtime; absent: it draws from the node's. */
  readonly allowedDmips?: number | undefined;
  readonly allowedRam?: number | undefined;
  /** 0: not limited by the runtime. */
  readonly maxInstances: number;
}

export interface ResourceFacts {
  readonly name: string;
  /** 0: unlimited. */
  readonly sharedCount: number;
}

/** Low and high water mark in percent of the node's total. */
export interface Thresholds {
  readonly minThreshold: number;
  readonly maxThreshold: number;
}

export interface NodeFacts {
  readonly nodeId: string;
  readonly nodeType: string;
  readonly state: NodeState;
  /** Connected, and its full list of instances has arrived since. */
  readonly connected: boolean;
  readonly maxDmips: number;
  readonly totalRam: number;
  readonly priority: number;
  readonly labels: readonly string[];
  /** Percent of a quota that is reserved when nothing is asked for explicitly. */
  readonly ratios: ResourceAmounts;
  readonly cpuRule?: Thresholds | undefined;
  readonly ramRule?: Thresholds | undefined;
  /** Measured average of the whole node, and of the instances on it together. */
  readonly usage: Amounts;
  readonly instancesUsage: Amounts;
  readonly runtimes: readonly RuntimeFacts[];
  readonly resources: readonly ResourceFacts[];
}

export interface Place {
  readonly nodeId: string;
  readonly runtimeId: string;
}

/** An instance that shall run somewhere. */
export interface WantedInstance {
  readonly ident: InstanceIdent;
  readonly version: string;
  readonly priority: number;
  readonly labels: readonly string[];
  readonly item: ItemFacts;
  /** It may run only there (components that run wherever they fit). */
  readonly pinned?: Place | undefined;
  /** Where it runs or ran last. */
  readonly present?: (Place & { readonly manifestDigest: string }) | undefined;
  /** What it was measured to use. */
  readonly average?: Amounts | undefined;
}

export interface PlacementInput {
  /** `launch` for a new desired status, `rebalance` for everything that happens by itself. */
  readonly mode: 'launch' | 'rebalance';
  readonly nodes: readonly NodeFacts[];
  /** In scheduling order. */
  readonly instances: readonly WantedInstance[];
  /** Sizes of the file systems of storages and states; one pool when they are on the same. */
  readonly disk: { readonly storage: number; readonly state: number; readonly shared: boolean };
}

/** Why an instance did not go to a node, or to one of its runtimes. */
export interface NotChosen {
  readonly nodeId: string;
  readonly runtimeId?: string;
  readonly because: string;
}

/** A resource for which an instance has no place. */
export interface Shortage {
  readonly nodeId: string;
  readonly resource: string;
  /** The node has it, and all its shares are taken. */
  readonly isTaken: boolean;
}

export type Placement = {
  readonly wanted: WantedInstance;
  /** A sentence for people. */
  readonly because: string;
  /** Filled when an explanation was asked for. */
  readonly notChosen: readonly NotChosen[];
} & (
  | { readonly place: Place; readonly manifestDigest: string; readonly manifest: ManifestFacts | undefined }
  | { readonly place?: undefined; readonly error: ErrorInfo; readonly shortage?: Shortage | undefined }
);
