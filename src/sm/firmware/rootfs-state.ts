/** What is to be done about an update of the root file system, given the marks and the records (spec/sm.md 6.3). Pure. */
import { MAX_ATTEMPTS } from './boot-state.ts';
import { type Component, isSame, type StoredError } from './firmware-model.ts';

/** Files by which the service manager and the initial RAM disk talk (spec/sm.md 6.2). */
export const ROOTFS_MARKS = ['updated', 'do_apply', 'do_update', 'failed'] as const;
export type RootfsMark = (typeof ROOTFS_MARKS)[number];

export type ImageKind = 'full' | 'incremental';

/**
 * `preparing`: image and mark are not known to be complete. `requested`: the initial RAM disk was asked to boot it on
 * trial. `applying`: the trial was good, and it was asked to keep it. `returning`: the trial was bad.
 */
export type RootfsPhase = 'preparing' | 'requested' | 'applying' | 'returning';

export interface RootfsPending {
  readonly component: Component;
  readonly kind: ImageKind;
  readonly phase: RootfsPhase;
  /** Reboots in this phase, and the boot in which the last one was asked for. */
  readonly attempts: number;
  readonly bootId: string;
  readonly error?: StoredError | undefined;
}

export interface RootfsFacts {
  readonly installed: Component;
  readonly pending?: RootfsPending | undefined;
  readonly marks: ReadonlySet<RootfsMark>;
  /** Of the version file; undefined: it cannot be read. */
  readonly runningVersion: string | undefined;
  readonly bootId: string;
}

export type RootfsStep =
  | { readonly do: 'rest'; readonly because: string }
  /** No update goes on: nothing of one may be left. */
  | { readonly do: 'clean' }
  /** It was not finished, and is prepared anew when it is wanted. */
  | { readonly do: 'prepare anew' }
  | { readonly do: 'request'; readonly attempt: number }
  | { readonly do: 'check health' }
  | { readonly do: 'apply'; readonly attempt: number }
  | { readonly do: 'return'; readonly attempt: number }
  /** The new version is the installed one. */
  | { readonly do: 'promote' }
  | { readonly do: 'fail'; readonly because: string };

export function nextRootfsStep(facts: RootfsFacts): RootfsStep {
  const { installed, pending, marks, bootId } = facts;
  if (!pending) {
    // It may be removed by the initial RAM disk alone (spec/sm.md T-43).
    return marks.has('updated') ? { do: 'rest', because: 'a trial runs that nobody asked for' } : { do: 'clean' };
  }
  if (isSame(pending.component, installed)) return { do: 'clean' };
  const attempt = pending.attempts > 0 && pending.bootId === bootId ? pending.attempts : pending.attempts + 1;
  switch (pending.phase) {
    case 'preparing':
    case 'requested':
      return stepBeforeTrial(facts, pending, attempt);
    case 'applying':
      if (!marks.has('updated')) return marks.has('failed') ? notApplied() : { do: 'promote' };
      if (attempt <= MAX_ATTEMPTS) return { do: 'apply', attempt };
      return { do: 'rest', because: `the initial RAM disk did not keep it in ${MAX_ATTEMPTS} boots` };
    case 'returning':
      if (!marks.has('updated')) return { do: 'fail', because: 'its trial was bad' };
      if (attempt <= MAX_ATTEMPTS) return { do: 'return', attempt };
      return { do: 'rest', because: `the initial RAM disk did not go back in ${MAX_ATTEMPTS} boots` };
  }
}

function stepBeforeTrial(
  { installed, marks, runningVersion }: RootfsFacts,
  pending: RootfsPending,
  attempt: number,
): RootfsStep {
  if (marks.has('updated')) return { do: 'check health' };
  if (marks.has('failed')) return notApplied();
  if (marks.has('do_apply')) return { do: 'promote' };
  if (!marks.has('do_update')) {
    if (pending.phase === 'preparing') return { do: 'prepare anew' };
    // An initial RAM disk that knows no trials keeps the new one at once.
    const { version } = pending.component;
    if (runningVersion === version && version !== installed.version) return { do: 'promote' };
  }
  if (attempt <= MAX_ATTEMPTS) return { do: 'request', attempt };
  return { do: 'fail', because: `it was not applied in ${MAX_ATTEMPTS} boots` };
}

function notApplied(): RootfsStep {
  return { do: 'fail', because: 'the initial RAM disk could not apply the image' };
}
