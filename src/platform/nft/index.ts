/** The host's firewall. */
export * from './nft.ts';
