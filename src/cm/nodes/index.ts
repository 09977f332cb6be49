/** The nodes of the unit and the streams of their service managers (spec/cm.md 7). */
export * from './event.ts';
export type * from './model.ts';
export * from './node-directory.ts';
export { hasServiceManager } from './node-state.ts';
export * from './sm-controller.ts';
