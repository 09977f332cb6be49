/** Logs for the cloud. */
export * from './host-logs.ts';
export * from './journal-logs.ts';
export * from './local-logs.ts';
export * from './log-provider.ts';
