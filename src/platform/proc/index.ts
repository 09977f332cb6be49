/** Processes of the host as /proc shows them. */
export * from './process.ts';
