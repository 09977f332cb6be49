/** States as they are spelled on every wire (spec/sm.md 0.2, spec/product.md 6.1). */

export type InstanceState = 'activating' | 'active' | 'inactive' | 'failed';

export type ItemState =
  | 'unknown'
  | 'downloading'
  | 'pending'
  | 'installing'
  | 'installed'
  | 'removing'
  | 'removed'
  | 'failed';

export type NodeState = 'unprovisioned' | 'provisioned' | 'paused' | 'error';

export type UnitConfigState = 'absent' | 'installed' | 'failed';

/** Stages of an update (spec/cm.md 2.2). */
export type UpdateState = 'none' | 'downloading' | 'pending' | 'installing' | 'launching' | 'activating' | 'finalizing';
