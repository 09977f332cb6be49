/** What aos-sm can judge before it reads it in earnest. */
import { type Checks, readText } from '../daemon/index.ts';
import { SmConfig } from './config.ts';
import { ResourcesFile } from './resources/index.ts';

export const CHECKS: Checks = {
  config: (text, path) => readText(SmConfig, text, path).warnings,
  resources: (text, path) => readText(ResourcesFile, text, path).warnings,
};
