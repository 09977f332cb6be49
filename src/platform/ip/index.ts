/** Links, addresses and shaping of the host. */
export * from './ip.ts';
