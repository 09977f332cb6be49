/** Resources of the node that instances may ask for: devices, mounts, groups, names, variables (spec/sm.md 11.1). */
export * from './devices.ts';
export * from './host-groups.ts';
export * from './node-resources.ts';
