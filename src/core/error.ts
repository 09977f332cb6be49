/**
 * The one error type of aoscore (spec/decisions.md 7.1, spec/sm.md 0.3).
 *
 * An error has a class with a stable number, a message for the person who must act, and the fields that
 * it is about. Everything that crosses a wire is made from it in `toErrorInfo`.
 */

/** Error classes and their numbers on every wire (`aosCode`). */
export const ERROR_CODES = {
  none: 0,
  failed: 1,
  runtime: 2,
  noMemory: 3,
  outOfRange: 4,
  notFound: 5,
  invalidArgument: 6,
  timeout: 7,
  alreadyExist: 8,
  wrongState: 9,
  invalidChecksum: 10,
  alreadyLoggedIn: 11,
  notSupported: 12,
  eof: 13,
  canceled: 14,
} as const;

export type ErrorCode = Exclude<keyof typeof ERROR_CODES, 'none'>;

/**
 * The exit code a twin needs to see: C++ clients rebuild errors of IAM from it alone and read 0 as success.
 * Used where no real system error number is known (spec/decisions.md 7.1).
 */
const SUBSTITUTE_EXIT_CODES: Record<ErrorCode, number> = {
  failed: 121,
  runtime: 5,
  noMemory: 12,
  outOfRange: 34,
  notFound: 2,
  invalidArgument: 22,
  timeout: 110,
  alreadyExist: 17,
  wrongState: 1,
  invalidChecksum: 74,
  alreadyLoggedIn: 114,
  notSupported: 95,
  eof: 61,
  canceled: 125,
};

/** Longest error text that is sent; twins cut at 64 characters (spec/decisions.md 8.3). */
const MAX_SENT_MESSAGE_BYTES = 63;

/** An error as it travels: in `common.v2.ErrorInfo` and in `errorInfo` of cloud messages. */
export interface ErrorInfo {
  readonly aosCode: number;
  /** A system error number, an exit status, an HTTP status, or 0. */
  readonly exitCode: number;
  readonly message: string;
}

export interface AosErrorOptions {
  readonly cause?: unknown;
  /** The number beside the class: errno, exit status or HTTP status. */
  readonly exitCode?: number;
  /** What the error is about, for logs and events; never secrets. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** An error that says what, which, expected, found and what next, with its class. */
export class AosError extends Error {
  override readonly name = 'AosError';
  readonly code: ErrorCode;
  readonly exitCode: number;
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: AosErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.exitCode = options.exitCode ?? 0;
    this.fields = options.fields ?? {};
  }
}

/** Node's system errors that have a better class than `runtime`. */
const CLASS_OF_SYSTEM_ERROR: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'notFound',
  EEXIST: 'alreadyExist',
  ENOSPC: 'noMemory',
  EDQUOT: 'noMemory',
  ENOMEM: 'noMemory',
  ETIMEDOUT: 'timeout',
};

/** The one place where an unknown error becomes an AosError. */
export function asAosError(error: unknown, doing?: string): AosError {
  if (error instanceof AosError) {
    return doing === undefined
      ? error
      : new AosError(error.code, `${doing}: ${error.message}`, {
          cause: error,
          exitCode: error.exitCode,
          fields: error.fields,
        });
  }
  const text = error instanceof Error ? error.message : String(error);
  const message = doing === undefined ? text : `${doing}: ${text}`;
  if (error instanceof Error && error.name === 'AbortError') return new AosError('canceled', message, { cause: error });
  if (error instanceof Error && error.name === 'TimeoutError')
    return new AosError('timeout', message, { cause: error });
  const system = error as { code?: unknown; errno?: unknown } | null;
  if (typeof system?.code === 'string' && typeof system.errno === 'number') {
    return new AosError(CLASS_OF_SYSTEM_ERROR[system.code] ?? 'runtime', message, {
      cause: error,
      exitCode: Math.abs(system.errno),
    });
  }
  return new AosError('failed', message, { cause: error });
}

/** True when the error is an AosError of this class. */
export function isAosError(error: unknown, code?: ErrorCode): error is AosError {
  return error instanceof AosError && (code === undefined || error.code === code);
}

/** Ends work that nobody wants any more. Throws `canceled`, or the AosError that the signal was aborted with. */
export function throwIfCanceled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw canceledBy(signal);
}

/** The error of an aborted signal: `canceled`, or the AosError or time-out that it was aborted with. */
export function canceledBy(signal: AbortSignal): AosError {
  const error = asAosError(signal.reason);
  return error.code === 'failed' ? new AosError('canceled', error.message, { cause: error }) : error;
}

/** The text as twins accept it: at most 63 bytes of UTF-8, cut at a character. */
export function shortenMessage(message: string, maxBytes = MAX_SENT_MESSAGE_BYTES): string {
  const bytes = Buffer.from(message);
  if (bytes.length <= maxBytes) return message;
  let end = maxBytes;
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end).toString();
}

/**
 * The innermost words of a chain of errors: what went wrong, without what it was done for. Sent texts are short, and
 * twins keep the innermost text too (spec/cm.md 0.4).
 */
function innermostMessage(error: AosError): string {
  let words = error.message;
  for (let cause = error.cause; cause instanceof AosError; cause = cause.cause) words = cause.message || words;
  return words;
}

/** An error for the wire of `servicemanager.v5` and of the cloud: the exit code is the real number or 0. */
export function toErrorInfo(error: unknown): ErrorInfo {
  const aos = asAosError(error);
  return {
    aosCode: ERROR_CODES[aos.code],
    exitCode: aos.exitCode,
    message: shortenMessage(innermostMessage(aos) || aos.code),
  };
}

/** An error for an answer of IAM, where twins look at the exit code alone: never 0 (spec/decisions.md 7.1). */
export function toIamErrorInfo(error: unknown): ErrorInfo {
  const info = toErrorInfo(error);
  return info.exitCode === 0 ? { ...info, exitCode: SUBSTITUTE_EXIT_CODES[asAosError(error).code] } : info;
}

const CODE_OF_NUMBER = new Map<number, ErrorCode>(
  Object.entries(ERROR_CODES)
    .filter(([name]) => name !== 'none')
    .map(([name, number]) => [number, name as ErrorCode]),
);

/**
 * The error a peer reported, or undefined for success. A failure is any non-zero number or text
 * (spec/decisions.md C-62); a code of 0 is a system error with the number `exitCode`.
 */
export function fromErrorInfo(info: ErrorInfo | undefined): AosError | undefined {
  if (!info || (info.aosCode === 0 && info.exitCode === 0 && info.message === '')) return undefined;
  const code = info.aosCode === 0 ? 'runtime' : (CODE_OF_NUMBER.get(info.aosCode) ?? 'failed');
  return new AosError(code, info.message || code, { exitCode: info.exitCode });
}
