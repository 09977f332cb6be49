import { join } from 'node:path';

/** The checkout. */
export const PROJECT_ROOT = join(import.meta.dirname, '..');
