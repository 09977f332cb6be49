/** Firmware of a node: the runtimes `boot` and `rootfs` (spec/sm.md 6). */
export * from './firmware-parts.ts';
export * from './firmware-runtime.ts';
export { openFirmware } from './open-firmware.ts';
