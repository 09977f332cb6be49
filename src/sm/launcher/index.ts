/** Instances of this node: intent, plan, execution, status. */
export { growingParts } from './growing-parts.ts';
export * from './instance-rows.ts';
export * from './launcher.ts';
export * from './parts.ts';
export { type BoardEntry, StatusBoard } from './status-board.ts';
