/** Services in containers (spec/sm.md 5). */
export * from './build-oci-config.ts';
export * from './container-runtime.ts';
export { logFilesOf, previousLogFile } from './instance-logs.ts';
export { HELPERS_CGROUP, SERVICES_CGROUP } from './oci-base.ts';
export * from './runtime-model.ts';
export { defaultSeccomp, loadSeccomp } from './seccomp.ts';
