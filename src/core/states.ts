/** States as they are spelled on every wire (spec/sm.md 0.2, spec/product.md 6.1). */

export const INSTANCE_STATES = ['activating', 'active', 'inactive', 'failed'] as const;
export type InstanceState = (typeof INSTANCE_STATES)[number];

/** Exactly one of the words that a wire has for the state of an instance. */
export const isInstanceState = (text: string): text is InstanceState => isOneOf(text, INSTANCE_STATES);

export type ItemState =
  | 'unknown'
  | 'downloading'
  | 'pending'
  | 'installing'
  | 'installed'
  | 'removing'
  | 'removed'
  | 'failed';

export const NODE_STATES = ['unprovisioned', 'provisioned', 'paused', 'error'] as const;
export type NodeState = (typeof NODE_STATES)[number];

/** Exactly one of the words that wires and files have for the state of a node. */
export const isNodeState = (text: string): text is NodeState => isOneOf(text, NODE_STATES);

export type UnitConfigState = 'absent' | 'installed' | 'failed';

/** Stages of an update (spec/cm.md 2.2). */
export const UPDATE_STATES = [
  'none',
  'downloading',
  'pending',
  'installing',
  'launching',
  'activating',
  'finalizing',
] as const;
export type UpdateState = (typeof UPDATE_STATES)[number];

function isOneOf<T extends string>(text: string, words: readonly T[]): text is T {
  return (words as readonly string[]).includes(text);
}
