/** Programs of the host: run to their end, within bounds; directly, or by a shell that forks cheaper than we do. */
export * from './exec-file.ts';
export * from './helper-shell.ts';
