/** What the daemons of this build would say of a document, without a process for each. */
import type { Checks } from '../daemon/index.ts';

/** By the name of the program. */
export type DaemonChecks = Readonly<Record<string, Checks>>;

/** The build puts `scripts/daemon-checks.ts` in its place; run from its sources, aosctl asks the programs. */
export const loadDaemonChecks = async (): Promise<DaemonChecks> => ({});
