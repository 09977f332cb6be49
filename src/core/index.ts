/** The vocabulary that every room shares: identities, states, errors, time, documents. Pure, except for the clock. */
export * from './certificate.ts';
export * from './clock.ts';
export * from './der.ts';
export * from './digest.ts';
export * from './duration.ts';
export * from './error.ts';
export * from './fault.ts';
export * from './ident.ts';
export * from './json.ts';
export { lineOfField } from './json-place.ts';
export * from './lines.ts';
export * from './logger.ts';
export * from './mailbox.ts';
export * from './phase.ts';
export * from './read.ts';
export * from './states.ts';
export * from './together.ts';
export * from './version.ts';
