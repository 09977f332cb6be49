/**
 * Which of two desired states is the newer one, when one came from a bundle (docs/decisions/0014-bundles.md). Pure.
 *
 * Both name the moment at which the cloud made them, by the cloud's own clock. Messages of the cloud are not ordered among
 * themselves: the link does that (spec/decisions.md C-16), and a cloud whose clock was set back must stay heard.
 */
import type { Digest } from '../../core/index.ts';

/** Where a desired state came from. */
export type Origin =
  | { readonly source: 'cloud'; readonly createdAt: string }
  | { readonly source: 'bundle'; readonly createdAt: string; readonly bundle: Digest };

/** Why a message of the cloud is not obeyed; undefined when it is. */
export function whyIgnored(message: Origin, inForce: Origin | undefined): string | undefined {
  if (inForce?.source !== 'bundle' || message.createdAt > inForce.createdAt) return undefined;
  return `it was made at ${message.createdAt}, and the bundle in force later, at ${inForce.createdAt}`;
}

/** Why it is told that a message of the cloud is obeyed although the cloud has said something later; else undefined. */
export function whyOlder(message: Origin, inForce: Origin | undefined, said = ''): string | undefined {
  const last = inForce?.source === 'cloud' && inForce.createdAt > said ? inForce.createdAt : said;
  if (message.createdAt >= last) return undefined;
  return `it was made at ${message.createdAt}, and another one at ${last}: the clock of the cloud was set back, or an old message came once more`;
}

/** Why a bundle is refused; undefined when it may be applied. `said` is when the cloud last made a desired status. */
export function whyBundleIsOld(
  bundle: Extract<Origin, { source: 'bundle' }>,
  inForce: Origin | undefined,
  said = '',
): string | undefined {
  const isInForce = inForce?.source === 'bundle' && inForce.bundle === bundle.bundle;
  if (inForce && !isInForce && inForce.createdAt >= bundle.createdAt) {
    const what = inForce.source === 'bundle' ? 'another bundle' : 'a desired status of the cloud';
    return `it was made at ${bundle.createdAt}; ${what} of ${inForce.createdAt} is in force`;
  }
  if (said >= bundle.createdAt) {
    return `it was made at ${bundle.createdAt}; the cloud has said what it wants at ${said}`;
  }
  return undefined;
}
