/** Mounts of the host, and what an overlay needs in its layers. */
export * from './fake-mounts.ts';
export * from './host-mount.ts';
export * from './mounts.ts';
export * from './overlay-marks.ts';
