/** What becomes of a running instance: restart, give-up, stop, reasons (spec/decisions.md 5). */
export * from './exit-reason.ts';
export * from './probe.ts';
export * from './restart-policy.ts';
export * from './supervision-store.ts';
