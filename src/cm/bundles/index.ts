/** Bundles: updates without a cloud. */
export { BundleDesk } from './bundle-desk.ts';
export type { HeadBytes } from './open-head.ts';
