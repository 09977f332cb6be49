/** What service managers say and are told, as plain data (spec/cm.md 7.2). Amounts: DMIPS and bytes. */
import type { ErrorInfo, InstanceFilter, InstanceIdent, InstanceState } from '../../core/index.ts';
import type { AlertRules } from '../../oci/index.ts';
import type { NodeInfo, ResourceInfo, RuntimeInfo } from '../model.ts';

/** What IAM says of a node. */
export type IamNodeInfo = Omit<NodeInfo, 'runtimes' | 'resources'>;

/** What the SM of a node says of itself when it connects. */
export interface SmInfo {
  readonly nodeId: string;
  readonly runtimes: readonly RuntimeInfo[];
  readonly resources: readonly ResourceInfo[];
}

/** How an instance does, in the words of its SM. */
export interface ReportedInstance {
  readonly ident: InstanceIdent;
  readonly version: string;
  readonly runtimeId: string;
  readonly manifestDigest: string;
  readonly state: InstanceState;
  readonly error?: ErrorInfo | undefined;
  /** All words of the failure; absent from a peer that knows none but those of `error`. */
  readonly reason?: string | undefined;
  readonly envVars: readonly { readonly name: string; readonly error?: ErrorInfo | undefined }[];
}

export interface NodeStatuses {
  readonly nodeId: string;
  /** True: all instances of the node; false: those that changed. */
  readonly isFull: boolean;
  readonly instances: readonly ReportedInstance[];
}

export interface NodeConnection {
  readonly nodeId: string;
  readonly connected: boolean;
}

export interface EnvVar {
  readonly name: string;
  readonly value: string;
}

/** An instance that shall run on a node. Any differing field makes the SM restart it. */
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
  readonly envVars: readonly EnvVar[];
  /** Present for every service, with the rules of its item; absent for components. */
  readonly monitoring?: { readonly alertRules?: AlertRules | undefined } | undefined;
}

/** The one message that changes what a node runs. */
export interface UpdateInstances {
  /** Everything that shall run there, also what runs already. */
  readonly start: readonly InstanceInfo[];
  readonly stop: readonly InstanceIdent[];
}

export interface Usage {
  /** Absent when the peer's clock said nothing. */
  readonly timestamp?: Date | undefined;
  readonly ram: number;
  readonly cpu: number;
  readonly partitions: readonly { readonly name: string; readonly usedSize: number }[];
  /** Bytes of the current day. */
  readonly download: number;
  readonly upload: number;
}

export interface NodeMonitoring {
  readonly nodeId: string;
  readonly node: Usage;
  readonly instances: readonly {
    readonly ident: InstanceIdent;
    readonly runtimeId: string;
    readonly usage: Usage;
  }[];
}

export type QuotaAlertState = 'raise' | 'continue' | 'fall';

export type AlertContent =
  | {
      readonly tag: 'systemQuotaAlert';
      readonly parameter: string;
      readonly value: number;
      readonly state: QuotaAlertState;
    }
  | {
      readonly tag: 'instanceQuotaAlert';
      readonly ident: InstanceIdent;
      readonly parameter: string;
      readonly value: number;
      readonly state: QuotaAlertState;
    }
  | {
      readonly tag: 'resourceAllocateAlert';
      readonly ident: InstanceIdent;
      readonly deviceId: string;
      readonly message: string;
    }
  | { readonly tag: 'systemAlert'; readonly message: string }
  | { readonly tag: 'coreAlert'; readonly coreComponent: string; readonly message: string }
  | {
      readonly tag: 'updateItemInstanceAlert';
      readonly ident: InstanceIdent;
      readonly version: string;
      readonly message: string;
    };

export interface NodeAlert {
  readonly nodeId: string;
  readonly timestamp?: Date | undefined;
  readonly content: AlertContent;
}

export interface LogRequest {
  readonly correlationId: string;
  readonly logType: 'systemLog' | 'instanceLog' | 'crashLog';
  readonly filter: InstanceFilter;
  readonly from?: Date | undefined;
  readonly till?: Date | undefined;
}

export interface LogPart {
  readonly nodeId: string;
  readonly correlationId: string;
  readonly part: number;
  readonly partsCount: number;
  readonly content: Uint8Array;
  readonly status: string;
  readonly error?: ErrorInfo | undefined;
}

/** A node's part of the unit configuration, as it travels. */
export interface NodeConfigText {
  readonly json: string;
  readonly version: string;
}

export interface NodeConfigStatus {
  readonly state: string;
  readonly version: string;
  readonly error?: ErrorInfo | undefined;
}
