/** Unit configuration (spec/cloud-protocol.md 8.3, 5.5; spec/cm.md 9.1). */
import * as z from 'zod';
import { NodeIdentity } from './identity.ts';
import { Duration, list, Name, text, Uint } from './values.ts';

const NO_TIME = 'PT0S';

const percentShape = {
  minTimeout: Duration.default(NO_TIME),
  /** Percent of what the node has. */
  minThreshold: z.number().default(0),
  maxThreshold: z.number().default(0),
};

const PercentRule = z.object(percentShape);

/** Thresholds in bytes of the current day. */
const PointRule = z.object({
  minTimeout: Duration.default(NO_TIME),
  minThreshold: Uint.default(0),
  maxThreshold: Uint.default(0),
});

export const NodeAlertRules = z.object({
  cpu: PercentRule.optional(),
  ram: PercentRule.optional(),
  partitions: list(z.object({ name: Name, ...percentShape })).optional(),
  download: PointRule.optional(),
  upload: PointRule.optional(),
});
export type NodeAlertRules = z.output<typeof NodeAlertRules>;

/** Percent of an instance's quota that is reserved when it asks for nothing; 50 when absent. */
export const ResourceRatios = z.object({
  cpu: z.number().optional(),
  ram: z.number().optional(),
  storage: z.number().optional(),
  state: z.number().optional(),
});
export type ResourceRatios = z.output<typeof ResourceRatios>;

/** Most labels of a node (spec/decisions.md 8.3). */
export const MAX_LABELS = 16;

export const NodeConfig = z.object({
  /** The node type it is for. */
  nodeGroupSubject: NodeIdentity,
  /** The one node it is for; wins over the node type. */
  node: NodeIdentity.optional(),
  version: text(32).optional(),
  alertRules: NodeAlertRules.optional(),
  resourceRatios: ResourceRatios.optional(),
  labels: list(text(64), MAX_LABELS).optional(),
  priority: Uint.optional(),
});
export type NodeConfig = z.output<typeof NodeConfig>;

export const UnitConfig = z.object({
  formatVersion: z.string().default(''),
  version: text(32),
  nodes: list(NodeConfig).default([]),
});
export type UnitConfig = z.output<typeof UnitConfig>;
