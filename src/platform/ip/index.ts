/** Links, addresses and shaping of the host. */
export * from './ip.ts';
export type { InsidePlan } from './kernel-links.ts';
