/** What aos-iam can judge before it reads it in earnest. */
import { type Checks, readText } from '../daemon/index.ts';
import { checkConfig, IamConfig } from './config/iam-config.ts';

export const CHECKS: Checks = {
  config: (text, path) => {
    const { value, warnings } = readText(IamConfig, text, path);
    checkConfig(value);
    return warnings;
  },
};
