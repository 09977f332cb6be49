/** Networks of instances. */
export * from './loopback-networks.ts';
export * from './network-link.ts';
export * from './network-manager.ts';
export { NETWORK_TABLES, NetworkRows } from './network-rows.ts';
export { TRAFFIC_PERIODS } from './traffic-count.ts';
export { TrafficRows } from './traffic-rows.ts';
