/** Containers of the host: crun or runc starts them, conmon holds their output, exit status and log. */
export * from './choose-runtime.ts';
export * from './container-engine.ts';
export * from './exit-file.ts';
export * from './oci-engine.ts';
export * from './oci-spec.ts';
