/** Networks of the unit: addresses, names, connections (spec/cm.md 6). */
export { HostsFile, type HostsFileOptions } from './hosts-file.ts';
export type { NetworkInstance } from './model.ts';
export { NetworkManager, type NetworkManagerOptions } from './network-manager.ts';
export { NetworkService } from './network-service.ts';
export { NETWORK_TABLES, NetworkStore } from './network-store.ts';
