/** What the launcher is built from. */
import type { Clock, Logger } from '../../core/index.ts';
import type { NodeInfo } from '../model.ts';
import type { NodeAlert, NodeConnection, NodeMonitoring, NodeStatuses, UpdateInstances } from '../nodes/index.ts';
import type { NodeConfig } from '../unit-config/index.ts';
import type { Decision } from './decisions.ts';
import type { InstanceStore } from './instance-store.ts';
import type { InstanceStorage, ItemSource, SystemIds } from './schedule.ts';

/** What the launcher needs of the list of nodes. */
export interface LauncherNodes {
  nodes(): readonly NodeInfo[];
  node(nodeId: string): NodeInfo | undefined;
  subscribe(listener: (node: NodeInfo) => void): () => void;
}

/** What it needs of the streams to the nodes. */
export interface LauncherStreams {
  isConnected(nodeId: string): boolean;
  sendUpdateInstances(nodeId: string, update: UpdateInstances): void;
  getAverageMonitoring(nodeId: string, signal: AbortSignal): Promise<NodeMonitoring>;
  readonly onConnection: (listener: (connection: NodeConnection) => void) => () => void;
  readonly onStatuses: (listener: (statuses: NodeStatuses) => void) => () => void;
  readonly onAlert: (listener: (alert: NodeAlert) => void) => () => void;
}

export interface LauncherOptions {
  /**
   * False while nobody has said what shall run: a CM that lost its database must not stop what it does not know
   * (spec/beyond.md R-04). Absent: always true.
   */
  readonly isInCharge?: () => boolean;
  readonly store: InstanceStore;
  readonly nodes: LauncherNodes;
  readonly streams: LauncherStreams;
  readonly items: ItemSource;
  readonly config: { nodeConfig(nodeId: string, nodeType: string): NodeConfig };
  readonly storage: InstanceStorage;
  /** Whether checksums of states are part of statuses (`reportStateChecksum`); absent: not, and a written state is no news. */
  readonly reportStateChecksum?: boolean;
  readonly systemIds: () => Promise<SystemIds>;
  /** Where decisions are told with their reasons. */
  readonly events?: { record(decision: Decision): void };
  readonly logger: Logger;
  readonly clock?: Clock;
  /** `launcher.nodesConnectionTimeout`. */
  readonly nodesConnectionTimeoutMs?: number;
  /** `nodeInfoProvider.smConnectionTimeout`. */
  readonly smConnectionTimeoutMs?: number;
  /** `launcher.instanceTtl`. */
  readonly instanceTtlMs?: number;
  /** `launcher.checkOverrideEnvVarsPeriod`. */
  readonly checkOverridesMs?: number;
  readonly nodeAnswerTimeoutMs?: number;
}
