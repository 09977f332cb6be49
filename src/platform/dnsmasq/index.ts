/** Name servers of the networks of instances. */
export * from './dnsmasq.ts';
