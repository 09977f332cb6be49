/** Network namespaces of the host with a name. */
export * from './network-namespaces.ts';
