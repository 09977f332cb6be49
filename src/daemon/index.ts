/** What every daemon does: configuration, log, life cycle, local control, credentials. */
export * from './check.ts';
export * from './config.ts';
export * from './control.ts';
export * from './credentials.ts';
export * from './iam-credentials.ts';
export * from './life.ts';
export * from './metrics/index.ts';
export * from './reports.ts';
export * from './watch-life.ts';
