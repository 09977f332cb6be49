/** Usage of resources (spec/cloud-protocol.md 8.7). */
import * as z from 'zod';
import { INSTANCE_STATES, NODE_STATES } from '../core/index.ts';
import { CodenameIdentity, instanceShape } from './identity.ts';
import { message } from './message.ts';
import { list, Time, Uint } from './values.ts';

export const MonitoringSample = z.object({
  timestamp: Time,
  /** Bytes. */
  ram: Uint,
  /** DMIPS; may have a fraction when others write it. */
  cpu: z.number(),
  /** Bytes since the start of the current day. */
  download: Uint,
  upload: Uint,
  partitions: list(z.object({ name: z.string(), usedSize: Uint })).optional(),
});
export type MonitoringSample = z.output<typeof MonitoringSample>;

/** Also reads the older name of `isConnected` (spec/cloud-protocol.md 13). */
const NodeStateChange = z
  .object({
    timestamp: Time,
    state: z.enum(NODE_STATES),
    isConnected: z.boolean().optional(),
    connected: z.boolean().optional(),
  })
  .transform(({ timestamp, state, isConnected, connected }) => ({
    timestamp,
    state,
    isConnected: isConnected ?? connected ?? false,
  }));

export const NodeMonitoring = z.object({
  node: CodenameIdentity,
  nodeStates: list(NodeStateChange).optional(),
  items: list(MonitoringSample),
});
export type NodeMonitoring = z.output<typeof NodeMonitoring>;

export const InstanceMonitoring = z.object({
  ...instanceShape,
  node: CodenameIdentity,
  itemStates: list(z.object({ timestamp: Time, state: z.enum(INSTANCE_STATES) })),
  items: list(MonitoringSample),
});
export type InstanceMonitoring = z.output<typeof InstanceMonitoring>;

export const MonitoringData = message('monitoringData', {
  nodes: list(NodeMonitoring),
  instances: list(InstanceMonitoring).optional(),
});
export type MonitoringData = z.output<typeof MonitoringData>;
