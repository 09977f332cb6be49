/** Partitions of a host, and files in their place: where they are, what is in them, and writing a whole one. */
export { FakePartition, type PartitionEffect } from './fake-partition.ts';
export { HostPartition } from './host-partition.ts';
export * from './locate.ts';
export * from './partition.ts';
export { watchDevices } from './watch-devices.ts';
