/** The desired state and the way to it. */

export { mergeDesired, trustOf, wantedItems } from './desired.ts';
export { type Desired, NOTHING_DESIRED } from './desired-model.ts';
export type { Origin } from './origin.ts';
export { overrideStatusOf, overridesOf } from './overrides-of.ts';
export type { UpdateDecision } from './plan-update.ts';
export { reportedInstances, reportedItems } from './refusals.ts';
export { LockRequest, ReleaseRule, type UpdateKind, type UpdateLock } from './release-rules.ts';
export { schedulerRoutes } from './scheduler-service.ts';
export { GATE_TABLES, UpdateGate } from './update-gate.ts';
export * from './update-manager.ts';
export { UPDATE_TABLES, UpdateStore } from './update-store.ts';
