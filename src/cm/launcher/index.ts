/** Which instance runs where, and how it does (spec/cm.md 4). */
export type { Decision } from './decisions.ts';
export type { EnvOverride } from './env-overrides.ts';
export { InstanceStore, LAUNCHER_TABLES } from './instance-store.ts';
export type { ItemDocuments, ManifestDocuments } from './item-facts.ts';
export { Launcher } from './launcher.ts';
export type { LauncherNodes, LauncherOptions, LauncherStreams } from './launcher-options.ts';
export type { NotChosen, Placement } from './model.ts';
export type { OverrideReport } from './override-reports.ts';
export type { InstanceStorage, ItemSource, StorageRequest, SystemIds } from './schedule.ts';
export { readSystemIds } from './system-ids.ts';
