/** PKCS#11 tokens: keys that never leave them, and certificates. */
export { FakePkcs11 } from './fake-pkcs11.ts';
export { loadPkcs11 } from './pkcs11.ts';
export * from './refused-pins.ts';
export * from './token.ts';
export * from './token-reader.ts';
export * from './token-url.ts';
