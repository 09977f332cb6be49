/** The local control socket: status, events, plan, why, locks of updates. */
export * from './control-handlers.ts';
