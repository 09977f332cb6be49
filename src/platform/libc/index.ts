/** Functions of the C library that Node.js has no call for. */
export * from './libc.ts';
