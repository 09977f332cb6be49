/** The plain data that the modules of the CM hand to each other. Amounts: DMIPS and bytes. */
import type { ErrorInfo, InstanceIdent, InstanceState, ItemState, ItemType, NodeState } from '../core/index.ts';

/** A version of an item and how far it is (spec/cm.md 3). */
export interface ItemStatus {
  readonly itemId: string;
  readonly type: ItemType;
  readonly version: string;
  readonly state: ItemState;
  readonly error?: ErrorInfo | undefined;
}

/** An instance as the launcher knows it: where it is and how it does (spec/cm.md 4.14). */
export interface InstanceStatus {
  readonly ident: InstanceIdent;
  readonly version: string;
  /** Empty while it has no place. */
  readonly nodeId: string;
  readonly runtimeId: string;
  readonly manifestDigest: string;
  readonly state: InstanceState;
  readonly error?: ErrorInfo | undefined;
  readonly envVars?: readonly { readonly name: string; readonly error?: ErrorInfo | undefined }[] | undefined;
  readonly stateChecksum?: string | undefined;
  /** All words of its node about `error`, where its own are too short for them. */
  readonly reason?: string | undefined;
  /** A sentence for people: why it is there, or why nowhere. */
  readonly because?: string | undefined;
}

export interface OsInfo {
  readonly os: string;
  readonly version: string;
  readonly features: readonly string[];
}

export interface ArchInfo {
  readonly architecture: string;
  readonly variant: string;
}

export interface CpuInfo {
  readonly modelName: string;
  readonly numCores: number;
  readonly numThreads: number;
  readonly arch: ArchInfo;
  readonly maxDmips: number;
}

export interface PartitionInfo {
  readonly name: string;
  readonly types: readonly string[];
  readonly path: string;
  readonly totalSize: number;
}

export interface RuntimeInfo {
  readonly runtimeId: string;
  readonly type: string;
  /** 0: not limited. */
  readonly maxDmips: number;
  readonly allowedDmips: number;
  readonly totalRam: number;
  readonly allowedRam: number;
  readonly maxInstances: number;
  readonly os: OsInfo;
  readonly arch: ArchInfo;
}

export interface ResourceInfo {
  readonly name: string;
  readonly sharedCount: number;
}

/** A node of the unit: what IAM says of it, with what its SM says of itself (spec/cm.md 7.7). */
export interface NodeInfo {
  readonly nodeId: string;
  readonly nodeType: string;
  readonly title: string;
  readonly maxDmips: number;
  readonly totalRam: number;
  readonly physicalRam: number;
  readonly os: OsInfo;
  readonly cpus: readonly CpuInfo[];
  readonly partitions: readonly PartitionInfo[];
  readonly attrs: Readonly<Record<string, string>>;
  readonly state: NodeState;
  readonly isConnected: boolean;
  readonly runtimes: readonly RuntimeInfo[];
  readonly resources: readonly ResourceInfo[];
  readonly error?: ErrorInfo | undefined;
}

/** One entry of the desired instances, joined with its item and its subject (spec/cm.md 4.1). */
export interface RunRequest {
  readonly itemId: string;
  readonly type: ItemType;
  readonly version: string;
  readonly ownerId: string;
  readonly subject: { readonly id: string; readonly type: 'group' | 'user'; readonly isUnitSubject: boolean };
  readonly priority: number;
  readonly numInstances: number;
  readonly labels: readonly string[];
}

/** Tells of changes; returns the function that ends it. */
export type Subscribe<T> = (listener: (value: T) => void) => () => void;
