/** Messages between the unit and the cloud: the schema is the type (spec/cloud-protocol.md). */
export * from './alerts.ts';
export * from './blobs.ts';
export * from './bundle.ts';
export * from './certificates.ts';
export * from './desired-status.ts';
export * from './env-vars.ts';
export * from './envelope.ts';
export {
  CloudIdentity,
  CodenameIdentity,
  IDENTITY_TYPES,
  Identity,
  ItemIdentity,
  instanceFilter,
  instanceMembers,
  NodeIdentity,
} from './identity.ts';
export * from './instance-state.ts';
export * from './logs.ts';
export * from './monitoring.ts';
export * from './provisioning.ts';
export * from './receipts.ts';
export type { RefusedEntry } from './refused-entries.ts';
export * from './registry.ts';
export * from './unit-config.ts';
export * from './unit-status.ts';
export { formatTime, normalizeTime, timeOf } from './values.ts';
