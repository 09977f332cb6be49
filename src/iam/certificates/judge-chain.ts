/** What this unit thinks of a chain that it is to apply (spec/decisions.md IA-11). */
import { asAosError } from '../../core/index.ts';
import { parseCertificates, verifyChain } from '../../storage/index.ts';
import type { Chain } from './chain.ts';

/** Checks signatures and validity up to the unit's roots; the answer says what is wrong, undefined when nothing is. */
export function chainJudge(rootsPem: string | undefined, now: () => Date): (chain: Chain) => string | undefined {
  const roots = rootsPem === undefined ? [] : parseCertificates(rootsPem);
  return ({ leaf, issuers }) => {
    if (roots.length === 0) return undefined;
    try {
      verifyChain(leaf, issuers, roots, now());
      return undefined;
    } catch (error) {
      return asAosError(error).message;
    }
  };
}
