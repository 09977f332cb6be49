/** The unit configuration: file, checks, distribution (spec/cm.md 9). */
export * from './document.ts';
export * from './unit-config.ts';
