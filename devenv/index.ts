/** The development environment as a library: a cloud and a unit of real daemons. Used by `./dev up` and end-to-end tests. */
export * from './cloud.ts';
export type { DaemonEvent, DaemonProcess } from './daemon-process.ts';
export * from './layout.ts';
export * from './leftovers.ts';
export { namespaceOf, UNIT_DNS } from './own-network.ts';
export type { Supervisor, UnitDaemon } from './supervisor.ts';
export * from './unit.ts';
export type { ConfigOverrides, UnitIdentity, UnitPorts } from './unit-config.ts';
