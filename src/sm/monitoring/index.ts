/** Usage of the node and of its instances. */
export * from './monitoring.ts';
export { HostUsage } from './usage.ts';
export * from './usage-reader.ts';
