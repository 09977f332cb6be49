/** The judgements of all daemons, which the build puts into aosctl (src/cli/daemon-checks.ts): no program of the house imports another. */

import type { DaemonChecks } from '../src/cli/daemon-checks.ts';
import { CHECKS as cm } from '../src/cm/checks.ts';
import { CHECKS as iam } from '../src/iam/checks.ts';
import { CHECKS as mp } from '../src/mp/checks.ts';
import { CHECKS as sm } from '../src/sm/checks.ts';

export const CHECKS: DaemonChecks = { 'aos-cm': cm, 'aos-sm': sm, 'aos-iam': iam, 'aos-mp': mp };
