/** What aos-mp can judge before it reads it in earnest. */
import { type Checks, readText } from '../daemon/index.ts';
import { checkConfig, MpConfig } from './config.ts';

export const CHECKS: Checks = {
  config: (text, path) => {
    const { value, warnings } = readText(MpConfig, text, path);
    // As a provisioned node reads it: a blank one needs less.
    checkConfig(value, false);
    return warnings;
  },
};
