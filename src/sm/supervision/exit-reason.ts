/** Why an instance ended, in words and numbers (spec/decisions.md 5.1, P-18). Pure. */
import { AosError } from '../../core/index.ts';

export interface ExitFacts {
  /** Exit status; 128 + signal when a signal ended the process. */
  readonly status: number;
  readonly outOfMemory: boolean;
  /** Bytes; absent: no limit of its own. */
  readonly ramLimit?: number | undefined;
  /** What explains the exit code better than its number. */
  readonly hint?: string | undefined;
}

const MAX_SIGNAL = 64;
const SIGKILL = 9;

/** `exit code 3`, `killed by signal 9`, `out of memory (limit 33554432)`, `/app needs /bin/bash, which is not there`. */
export function exitReason({ status, outOfMemory, ramLimit, hint }: ExitFacts): string {
  // The kernel kills one process of the cgroup: only if that was the first one, memory is why the instance ended.
  if (outOfMemory && status === 128 + SIGKILL) {
    return ramLimit === undefined ? 'out of memory' : `out of memory (limit ${ramLimit})`;
  }
  if (hint !== undefined) return hint;
  if (status < 0) return 'exit code unknown';
  const signal = status - 128;
  return signal > 0 && signal <= MAX_SIGNAL ? `killed by signal ${signal}` : `exit code ${status}`;
}

/** The error of an unasked exit. */
export function exitError(facts: ExitFacts): AosError {
  return new AosError('failed', exitReason(facts), { exitCode: Math.max(facts.status, 0) });
}

/** The error after the last restart; its words hold those of the cause, which on its own would be sent in their place. */
export function giveUpError(restarts: number, cause: AosError): AosError {
  return new AosError('failed', `gave up after ${restarts} restart${restarts === 1 ? '' : 's'}: ${cause.message}`, {
    exitCode: cause.exitCode,
  });
}
