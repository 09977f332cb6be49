/** What aos-cm can judge before it reads it in earnest. */
import { type Checks, readText } from '../daemon/index.ts';
import { CmConfig } from './config.ts';
import { checkUnitConfig } from './unit-config/index.ts';

export const CHECKS: Checks = {
  config: (text, path) => readText(CmConfig, text, path).warnings,
  'unit-config': checkUnitConfig,
};
