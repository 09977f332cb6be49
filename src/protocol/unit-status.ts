/** The actual state of the unit, whole or what changed (spec/cloud-protocol.md 8.4). */
import * as z from 'zod';
import { INSTANCE_STATES, NODE_STATES } from '../core/index.ts';
import { CodenameIdentity, Identity } from './identity.ts';
import { message, OptionalErrorInfo } from './message.ts';
import { list, Uint } from './values.ts';

/** `error` is written by other editions of the schema (spec/cloud-protocol.md 13). */
const ItemStateText = z
  .enum([
    'unknown',
    'downloading',
    'pending',
    'installing',
    'installed',
    'removing',
    'removed',
    'failed',
    'error' as const,
  ])
  .transform((state) => (state === 'error' ? 'failed' : state));

export const UnitConfigStatus = z.object({
  version: z.string().optional(),
  state: z.enum(['absent', 'installed', 'failed']),
  errorInfo: OptionalErrorInfo,
});
export type UnitConfigStatus = z.output<typeof UnitConfigStatus>;

export const OsStatus = z.object({
  os: z.string(),
  version: z.string().optional(),
  features: list(z.string()).optional(),
});
export type OsStatus = z.output<typeof OsStatus>;

export const ArchStatus = z.object({ architecture: z.string(), variant: z.string().optional() });
export type ArchStatus = z.output<typeof ArchStatus>;

export const CpuStatus = z.object({
  modelName: z.string(),
  totalNumCores: Uint,
  totalNumThreads: Uint,
  archInfo: ArchStatus,
  maxDmips: Uint.optional(),
});
export type CpuStatus = z.output<typeof CpuStatus>;

export const PartitionStatus = z.object({
  name: z.string(),
  path: z.string().optional(),
  types: list(z.string()),
  /** Bytes. */
  totalSize: Uint,
});
export type PartitionStatus = z.output<typeof PartitionStatus>;

export const RuntimeStatus = z.object({
  identity: CodenameIdentity,
  runtimeType: z.string(),
  archInfo: ArchStatus,
  osInfo: OsStatus,
  maxDmips: Uint.optional(),
  allowedDmips: Uint.optional(),
  totalRam: Uint.optional(),
  allowedRam: Uint.optional(),
  /** 0: not limited. */
  maxInstances: Uint,
});
export type RuntimeStatus = z.output<typeof RuntimeStatus>;

/** How many instances may share the resource; 0: any number. */
export const ResourceStatus = z.object({ name: z.string(), sharedCount: Uint });
export type ResourceStatus = z.output<typeof ResourceStatus>;

export const NodeStatus = z.object({
  identity: CodenameIdentity,
  nodeGroupSubject: CodenameIdentity,
  maxDmips: Uint,
  physicalRam: Uint.optional(),
  totalRam: Uint,
  osInfo: OsStatus,
  cpus: list(CpuStatus).optional(),
  attrs: z.record(z.string(), z.string()).readonly().optional(),
  partitions: list(PartitionStatus).optional(),
  state: z.enum(NODE_STATES),
  isConnected: z.boolean(),
  errorInfo: OptionalErrorInfo,
  runtimes: list(RuntimeStatus).optional(),
  resources: list(ResourceStatus).optional(),
});
export type NodeStatus = z.output<typeof NodeStatus>;

export const ReportedItem = z.object({
  item: Identity,
  version: z.string(),
  state: ItemStateText,
  errorInfo: OptionalErrorInfo,
});
export type ReportedItem = z.output<typeof ReportedItem>;

export const ReportedInstance = z.object({
  /** Empty codename: it could not be placed. */
  node: CodenameIdentity,
  runtime: CodenameIdentity,
  instance: Uint,
  stateChecksum: z.string().optional(),
  state: z.enum(INSTANCE_STATES),
  errorInfo: OptionalErrorInfo,
});
export type ReportedInstance = z.output<typeof ReportedInstance>;

/** All instances of one item, subject and version. */
export const ReportedInstances = z.object({
  item: Identity,
  subject: Identity,
  version: z.string(),
  instances: list(ReportedInstance),
});
export type ReportedInstances = z.output<typeof ReportedInstances>;

/** A full status replaces everything known; a delta has only sections and entries that changed. */
export const UnitStatus = message('unitStatus', {
  isDeltaInfo: z.boolean().default(false),
  unitConfig: list(UnitConfigStatus).optional(),
  nodes: list(NodeStatus).optional(),
  items: list(ReportedItem).optional(),
  instances: list(ReportedInstances).optional(),
  subjects: list(Identity).optional(),
});
export type UnitStatus = z.output<typeof UnitStatus>;
