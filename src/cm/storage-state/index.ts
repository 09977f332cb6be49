/** Storages and states of instances (spec/cm.md 5). */
export { STATE_FILE } from './directories.ts';
export { STATE_TABLES, StateStore } from './state-store.ts';
export { type PrepareRequest, StorageState, type StorageStateOptions } from './storage-state.ts';
