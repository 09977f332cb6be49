/** Units of systemd: how they do, and the reboot by one of them. */
export * from './units.ts';
