/** What the exit code of aosctl says (docs/aosctl.md). */
import { asAosError, type ErrorCode } from '../core/index.ts';

export const EXIT = {
  done: 0,
  /** What was asked for was refused or failed. */
  failed: 1,
  /** The command line, a profile or an input file is wrong. */
  usage: 2,
  /** A unit, a daemon or the cloud could not be reached. */
  unreachable: 3,
  /** What was waited for did not happen in time. */
  timeout: 4,
} as const;

/** The same in words, for people. */
export const EXIT_MEANINGS: Readonly<Record<string, string>> = {
  [EXIT.done]: 'done',
  [EXIT.failed]: 'refused or failed; the message says why',
  [EXIT.usage]: 'the command line, a profile or an input file is wrong',
  [EXIT.unreachable]: 'a unit, a daemon or the cloud could not be reached',
  [EXIT.timeout]: 'what was waited for did not happen in time',
};

const EXIT_OF_CODE: Readonly<Partial<Record<ErrorCode, number>>> = {
  invalidArgument: EXIT.usage,
  timeout: EXIT.timeout,
};

/** Marks errors of connections, whatever their class. */
export const UNREACHABLE = { unreachable: true } as const;

/** The exit code of a command that ended with this error; that of a connection counts before its own code. */
export function exitCodeOf(error: unknown): number {
  const aos = asAosError(error);
  return aos.fields.unreachable === true ? EXIT.unreachable : (EXIT_OF_CODE[aos.code] ?? EXIT.failed);
}
