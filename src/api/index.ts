/** Contracts between the daemons, how to serve them and how to call them. Messages: `./gen` through `contracts.ts`. */
export * from './address.ts';
export * from './convert.ts';
export * from './dial.ts';
export * from './peer-chain.ts';
export * from './serve.ts';
export * from './tls.ts';
