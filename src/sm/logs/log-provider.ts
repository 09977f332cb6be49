/** Logs that the cloud asks for: one request after another (spec/sm.md 10, spec/decisions.md T-68). */
import {
  AosError,
  asAosError,
  type InstanceFilter,
  type InstanceIdent,
  type Logger,
  Mailbox,
  matchesFilter,
  toErrorInfo,
} from '../../core/index.ts';
import type { LogRequest, OutgoingMessage } from '../client/index.ts';
import { formatLogTime, type LogLine } from './log-file.ts';
import { LogParts, type PartLimits } from './log-parts.ts';

/** Requests that wait. */
const MAX_WAITING = 64;

/** An instance that is known here now. */
export interface LoggedInstance {
  readonly id: string;
  readonly ident: InstanceIdent;
  /** The last unexpected exit, absent when there was none. */
  readonly crashedAt?: Date | undefined;
  readonly startedAt?: Date | undefined;
  /** Start of the present run, absent when it does not run. */
  readonly runsSince?: Date | undefined;
  /** Start of the last run that ended by itself. */
  readonly formerRunFrom?: Date | undefined;
}

export interface LogSource {
  /** Lines of instances in order of time, both moments included. */
  instances(ids: readonly string[], from: Date | undefined, till: Date | undefined): AsyncIterable<LogLine>;
  /** Lines of one instance from a moment on, and those to come until the signal aborts. */
  follow(id: string, from: Date | undefined, signal: AbortSignal): AsyncIterable<LogLine>;
  /** Lines of the whole journal, each with the unit that wrote it. Throws `notSupported` without a journal. */
  system(from: Date | undefined, till: Date | undefined): AsyncIterable<LogLine & { readonly unit: string }>;
}

export interface LogProviderOptions extends PartLimits {
  readonly instances: () => readonly LoggedInstance[];
  readonly source: LogSource;
  readonly send: (message: OutgoingMessage) => void;
  readonly logger: Logger;
}

export class LogProvider {
  readonly #options: LogProviderOptions;
  readonly #requests = new Mailbox<LogRequest>(MAX_WAITING);
  #running: Promise<void> | undefined;

  constructor(options: LogProviderOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#requests.close();
    await this.#running;
  }

  /** Is answered later; too many at once are answered with an error now. */
  request(request: LogRequest): void {
    try {
      this.#requests.push(request);
    } catch (error) {
      this.#sendError(request, error);
    }
  }

  async #run(): Promise<void> {
    for await (const request of this.#requests) {
      try {
        await this.#answer(request);
      } catch (error) {
        this.#options.logger.warn({ kind: request.kind }, `cannot give a log: ${asAosError(error).message}`);
        this.#sendError(request, error);
      }
    }
  }

  async #answer(request: LogRequest): Promise<void> {
    const parts = new LogParts(this.#options);
    if (request.kind === 'system') {
      for await (const { at, unit, text } of this.#options.source.system(request.from, request.till)) {
        parts.add(`${formatLogTime(at)} ${unit} ${text}\n`);
      }
    } else {
      const found = this.#find(request.filter);
      const chosen = request.kind === 'crash' ? found.filter((instance) => crashedWithin(instance, request)) : found;
      if (chosen.length === 0) {
        this.#sendOne(request, 'absent');
        return;
      }
      for (const lines of this.#lines(request, chosen)) {
        for await (const { at, text } of lines) parts.add(`${formatLogTime(at)} ${text} \n`);
      }
    }
    this.#sendParts(request, parts.finish());
  }

  #find(filter: InstanceFilter): LoggedInstance[] {
    return this.#options.instances().filter(({ ident }) => matchesFilter(filter, ident));
  }

  /** A crash is told by what the instance wrote from its start to the crash. */
  #lines({ kind, from, till }: LogRequest, chosen: readonly LoggedInstance[]): AsyncIterable<LogLine>[] {
    const { source } = this.#options;
    if (kind === 'instance') {
      return [
        source.instances(
          chosen.map(({ id }) => id),
          from,
          till,
        ),
      ];
    }
    return chosen.map(({ id, startedAt, crashedAt }) => source.instances([id], startedAt ?? from, crashedAt));
  }

  #sendParts(request: LogRequest, parts: readonly Buffer[]): void {
    if (parts.length === 0) {
      this.#sendOne(request, 'empty');
      return;
    }
    for (const [index, data] of parts.entries()) {
      this.#send(request, { partCount: BigInt(parts.length), part: BigInt(index + 1), data, status: 'ok' });
    }
  }

  #sendOne(request: LogRequest, status: 'absent' | 'empty'): void {
    this.#send(request, { partCount: 1n, part: 1n, status });
  }

  #sendError(request: LogRequest, error: unknown): void {
    const failed = new AosError('failed', asAosError(error).message);
    this.#send(request, { partCount: 0n, part: 0n, status: 'error', error: toErrorInfo(failed) });
  }

  #send({ correlationId }: LogRequest, value: LogValue): void {
    this.#options.send({
      case: 'log',
      value: { correlationId, error: { aosCode: 0, exitCode: 0, message: '' }, ...value } as LogMessage,
    });
  }
}

type LogMessage = Extract<OutgoingMessage, { case: 'log' }>['value'];

interface LogValue {
  readonly partCount: bigint;
  readonly part: bigint;
  readonly status: 'ok' | 'error' | 'empty' | 'absent';
  readonly data?: Uint8Array;
  readonly error?: { readonly aosCode: number; readonly exitCode: number; readonly message: string };
}

function crashedWithin({ crashedAt }: LoggedInstance, { from, till }: LogRequest): boolean {
  return crashedAt !== undefined && (!from || crashedAt >= from) && (!till || crashedAt <= till);
}
