/** The log of decisions. */
export * from './event-log.ts';
