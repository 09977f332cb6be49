/** Configuration of the node. */
export * from './node-config.ts';
