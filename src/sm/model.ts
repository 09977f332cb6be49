/** The plain data that the modules of the SM hand to each other. Amounts: DMIPS and bytes. */
import type { ErrorInfo, InstanceIdent, InstanceState, ItemType } from '../core/index.ts';
import type { ImageConfig, ImageManifest, ItemConfig } from '../oci/index.ts';

/** An instance that shall run on this node, as the CM describes it (`servicemanager.v5.InstanceInfo`). */
export interface InstanceInfo {
  readonly ident: InstanceIdent;
  readonly version: string;
  readonly manifestDigest: string;
  readonly ownerId: string;
  readonly runtimeId: string;
  readonly uid: number;
  readonly gid: number;
  readonly priority: number;
  /** Below the directory of storages (states); empty: none. */
  readonly storagePath: string;
  readonly statePath: string;
  readonly envVars: readonly { readonly name: string; readonly value: string }[];
  /** Absent: not monitored. Kept as the CM sent it; the monitoring reads it. */
  readonly monitoring?: MonitoringParameters | undefined;
}

export interface PercentRule {
  readonly durationMs: number;
  readonly minThreshold: number;
  readonly maxThreshold: number;
}

export interface MonitoringParameters {
  readonly ram?: PercentRule | undefined;
  readonly cpu?: PercentRule | undefined;
  readonly partitions: readonly (PercentRule & { readonly name: string })[];
  readonly download?: PercentRule | undefined;
  readonly upload?: PercentRule | undefined;
}

/** How an instance does (`servicemanager.v5.InstanceStatus`). */
export interface InstanceStatus {
  readonly ident: InstanceIdent;
  readonly version: string;
  readonly runtimeId: string;
  readonly manifestDigest: string;
  readonly state: InstanceState;
  readonly error?: ErrorInfo | undefined;
  /** All words of the failure, when the short text of `error` does not say them all. */
  readonly reason?: string | undefined;
  readonly envVars: readonly { readonly name: string; readonly error?: ErrorInfo | undefined }[];
}

/** An item whose blobs are all on this node, checked and unpacked. */
export interface InstalledItem {
  readonly itemId: string;
  readonly type: ItemType;
  readonly version: string;
  readonly manifestDigest: string;
  readonly manifest: ImageManifest;
  /** Absent for components. */
  readonly imageConfig?: ImageConfig | undefined;
  /** Absent when the manifest names none. */
  readonly itemConfig?: ItemConfig | undefined;
  /** Services: unpacked layers, the topmost first, each a directory to use as a lower directory of an overlay. */
  readonly layers: readonly string[];
  /** Which rule gave the order of the layers, for people (spec/decisions.md 4.1). */
  readonly layerOrderBecause: string;
  /** Components: files of the layers in manifest order. */
  readonly files: readonly string[];
}

/** A mount as an OCI runtime configuration writes it. */
export interface OciMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** What an instance sees of the network. */
export interface InstanceNetwork {
  /** The network namespace that it joins; absent: one of its own without any interface that is up. */
  readonly netnsPath?: string | undefined;
  readonly hosts: readonly { readonly ip: string; readonly name: string }[];
  readonly dnsServers: readonly string[];
  readonly hostname: string;
}

/** All that a runtime needs to start an instance. */
export interface StartRequest {
  readonly info: InstanceInfo;
  readonly item: InstalledItem;
  readonly network: InstanceNetwork;
  /** Shown by the instance to functional servers. */
  readonly secret?: string | undefined;
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

/** This node, as its IAM describes it (`iamanager.v6.NodeInfo`). */
export interface NodeInfo {
  readonly nodeId: string;
  readonly nodeType: string;
  readonly title: string;
  readonly maxDmips: number;
  readonly totalRam: number;
  readonly os: OsInfo;
  readonly cpus: readonly { readonly numCores: number; readonly numThreads: number; readonly arch: ArchInfo }[];
  readonly partitions: readonly {
    readonly name: string;
    readonly types: readonly string[];
    readonly path: string;
    readonly totalSize: number;
  }[];
}

/** Where instances can run, as the CM is told (`servicemanager.v5.RuntimeInfo`). */
export interface RuntimeInfo {
  readonly runtimeId: string;
  readonly type: string;
  readonly maxInstances: number;
  readonly os: OsInfo;
  readonly arch: ArchInfo;
}

/** A resource of the host that instances may ask for; 0: any number of them at once. */
export interface ResourceInfo {
  readonly name: string;
  readonly sharedCount: number;
}

/** A request of the CM: the complete list of what shall run, and what shall stop (spec/sm.md 4.3). */
export interface UpdateRequest {
  /** Everything that shall run, changed or not. */
  readonly start: readonly InstanceInfo[];
  readonly stop: readonly InstanceIdent[];
}
