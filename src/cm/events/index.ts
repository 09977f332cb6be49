/** The log of decisions. */
export * from './event-log.ts';
export * from './instance-diary.ts';
