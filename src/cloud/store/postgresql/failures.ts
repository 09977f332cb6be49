/** What PostgreSQL's refusals mean, and what to say to the person who must act. */
import { constants } from 'node:os';
import { AosError, asAosError } from '../../../core/index.ts';

/**
 * - `conflict`: another transaction was faster; the same again may succeed.
 * - `duplicate`: a key is there already; perhaps since another transaction was faster, then the same again sees it.
 * - `unreachable`: the server is gone, or starts; it may be there soon.
 * - `aborted`: an earlier statement of the transaction has failed.
 */
export type FailureKind = 'conflict' | 'duplicate' | 'unreachable' | 'aborted' | 'final';

const KINDS: Readonly<Record<string, FailureKind>> = {
  '40001': 'conflict',
  '40P01': 'conflict',
  '23505': 'duplicate',
  '25P02': 'aborted',
  // Too many connections; the server stops, crashed, starts; it ended a transaction that stood still.
  '53300': 'unreachable',
  '57P01': 'unreachable',
  '57P02': 'unreachable',
  '57P03': 'unreachable',
  '25P03': 'unreachable',
  ECONNREFUSED: 'unreachable',
  ECONNRESET: 'unreachable',
  EPIPE: 'unreachable',
  ENOENT: 'unreachable',
  ETIMEDOUT: 'unreachable',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  ENOTFOUND: 'unreachable',
  EAI_AGAIN: 'unreachable',
};

/** Words of the driver for a connection that broke; they carry no code. */
const BROKEN =
  /^(?:Connection terminated|Client has encountered a connection error|timeout exceeded when trying to connect|timeout expired|Query read timeout)/;

const codeOf = (error: unknown): string => {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return typeof code === 'string' ? code : '';
};

export function kindOf(error: unknown): FailureKind {
  if (error instanceof AosError) return 'final';
  const code = codeOf(error);
  if (code.startsWith('08')) return 'unreachable';
  if (error instanceof Error && BROKEN.test(error.message)) return 'unreachable';
  return KINDS[code] ?? 'final';
}

/**
 * A transaction that others were faster than so often gives up: something is wrong with what it does. A key that is there
 * already is news of a faster one at most once.
 */
const TRIES: Readonly<Partial<Record<FailureKind, number>>> = { conflict: 50, duplicate: 2 };

/** Whether a transaction that was refused may succeed when it is done anew. */
export function isWorthAnotherTry(kind: FailureKind, attempt: number): boolean {
  return attempt < (TRIES[kind] ?? 0);
}

/** The database as it may be named to anybody: without its password. */
export function describeDatabase(url: string): string {
  try {
    const { host, pathname, searchParams } = new URL(url);
    return `${searchParams.get('host') ?? decodeURIComponent(host)}${pathname}`;
  } catch {
    return 'of the configuration';
  }
}

const WORDS: Readonly<Record<string, (name: string, said: string) => [AosError['code'], string]>> = {
  '28P01': (name, said) => [
    'failed',
    `the database ${name} refuses the password: ${said}; see "database" in the configuration`,
  ],
  '28000': (name, said) => ['failed', `the database ${name} does not let this cloud in: ${said}; see its pg_hba.conf`],
  '3D000': (name, said) => ['notFound', `there is no database ${name}: ${said}; make one with "createdb"`],
  '42501': (name, said) => [
    'failed',
    `the database ${name} forbids what this cloud needs: ${said}; its user must own the schema`,
  ],
  '25006': (name, said) => [
    'wrongState',
    `the database ${name} takes nothing: ${said}; is it a standby? Name the primary one`,
  ],
  '42P01': (name, said) => ['wrongState', `the database ${name} has another schema than this program made: ${said}`],
  '42703': (name, said) => ['wrongState', `the database ${name} has another schema than this program made: ${said}`],
  '42P07': (name, said) => [
    'alreadyExist',
    `the database ${name} holds tables of something else: ${said}; give this cloud a database of its own`,
  ],
};

/** What TLS has against the certificate of a server (OpenSSL, and Node for the name in it). */
const UNTRUSTED =
  /^(?:SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+|CERT_\w+|ERR_TLS_CERT_ALTNAME_INVALID)$/;

/** The error with words for a person. */
export function explain(error: unknown, name: string): AosError {
  if (error instanceof AosError) return error;
  const said = error instanceof Error ? error.message || codeOf(error) : String(error);
  const code = codeOf(error);
  if (code === '53100') {
    return new AosError('noMemory', `the disk of the database ${name} is full`, {
      cause: error,
      exitCode: constants.errno.ENOSPC,
    });
  }
  if (kindOf(error) === 'unreachable') {
    return new AosError('failed', `the database ${name} cannot be reached: ${said}`, { cause: error });
  }
  if (UNTRUSTED.test(code)) {
    const message = `the database ${name} shows a certificate that is not trusted: ${said}; "sslrootcert" in the address names the file of its authority`;
    return new AosError('failed', message, { cause: error });
  }
  const words = WORDS[code]?.(name, said);
  return words ? new AosError(words[0], words[1], { cause: error }) : asAosError(error, `the database ${name}`);
}
