/** Alerts that the SM makes of what happens on the node. */
export * from './alert-gate.ts';
export * from './damage-alert.ts';
export * from './instance-alerts.ts';
export * from './journal-alerts.ts';
export * from './resource-alerts.ts';
