/** What the unit tells of itself. */
export * from './status-reporter.ts';
export * from './unit-report.ts';
export * from './unit-status.ts';
