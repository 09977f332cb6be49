/** Disk quotas of the host. */
export * from './disk-quota.ts';
