/** Control groups of the host: version 1, version 2, and both at once. */
export * from './cgroups.ts';
