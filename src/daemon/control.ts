/**
 * The local control socket of a daemon: HTTP with JSON over a Unix socket that only its owner may open.
 * `aosctl` asks it; nothing else does. Not part of any wire contract.
 */

import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  AosError,
  asAosError,
  boundedLines,
  ERROR_CODES,
  type ErrorInfo,
  fromErrorInfo,
  parseJson,
  toErrorInfo,
} from '../core/index.ts';

const MAX_BODY_BYTES = 8 * 1024 * 1024;
const REQUEST_TIMEOUT_MS = 10_000;
const STREAM_TYPE = 'application/x-ndjson';
/** Longest line of a stream that is read. */
const MAX_STREAM_LINE_BYTES = 1024 * 1024;

/**
 * Answers one path; what it returns is sent as JSON, what it throws as an error with its class. An async iterable is sent
 * value by value as they come, no faster than they are taken; `signal` aborts when nobody listens any more.
 */
export type ControlHandler = (body: unknown, signal: AbortSignal) => unknown | Promise<unknown>;

/** Takes a body of any size as it comes, no faster than it is read; answers once. `signal` aborts when the sender is gone. */
export interface ControlUpload {
  readonly upload: (source: AsyncIterable<Buffer>, signal: AbortSignal) => Promise<unknown>;
}

/** What a daemon answers, by path. */
export type ControlHandlers = Readonly<Record<string, ControlHandler | ControlUpload>>;

/** One line of a stream: a value, or the error that ended it. */
type StreamLine = { readonly value: unknown } | { readonly error: ErrorInfo };

/** Whether somebody listens: the socket of a dead process is a file like any other. */
function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(path);
    const answer = (isThere: boolean) => {
      probe.destroy();
      resolve(isThere);
    };
    probe.once('connect', () => answer(true));
    probe.once('error', () => answer(false));
  });
}

/** A control socket that listens. */
export class ControlServer {
  readonly #server: Server;
  readonly #path: string;

  private constructor(server: Server, path: string) {
    this.#server = server;
    this.#path = path;
  }

  /** Handlers by path, for example `/status`. A stale socket of a dead process is replaced. Throws `wrongState` for a live one. */
  static async open(path: string, handlers: ControlHandlers): Promise<ControlServer> {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    if (existsSync(path)) {
      if (await isAnswered(path)) {
        throw new AosError(
          'wrongState',
          `${path} is taken: another process answers there; is this daemon running already?`,
        );
      }
      await rm(path, { force: true });
    }
    const server = createServer((incoming, response) => {
      const gone = new AbortController();
      response.once('close', () => gone.abort(new AosError('canceled', 'nobody listens any more')));
      const answer = async () => {
        const handler = handlers[incoming.url ?? ''];
        if (!handler) throw new AosError('notSupported', `this daemon does not answer ${incoming.url}`);
        if ('upload' in handler) {
          // Whoever breaks off reading still wants to answer, on the same connection.
          const value = await handler.upload(incoming.iterator({ destroyOnReturn: false }), gone.signal);
          sendEarly(incoming, response, 200, value ?? null);
          return;
        }
        const value = await handler(await readBody(incoming), gone.signal);
        if (isAsyncIterable(value)) await sendStream(response, value, gone.signal);
        else response.setHeader('content-type', 'application/json').end(JSON.stringify(value ?? null));
      };
      answer().catch((error) => {
        if (gone.signal.aborted) return;
        sendEarly(incoming, response, 500, { error: errorOf(error) });
      });
    });
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
    await chmod(path, 0o660);
    return new ControlServer(server, path);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#path, { force: true });
  }
}

/**
 * Answers while the question may still be coming in. Its rest is taken and dropped until the sender has read the answer:
 * a socket that is closed with something unread takes the answer with it.
 */
function sendEarly(incoming: IncomingMessage, response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': body.length });
  if (incoming.readableEnded || incoming.destroyed) {
    response.end(body);
    return;
  }
  response.write(body);
  incoming.once('end', () => response.end());
  incoming.resume();
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

function errorOf(error: unknown): ErrorInfo {
  const aos = asAosError(error);
  return { ...toErrorInfo(aos), message: aos.message };
}

/** Throws what fails before the first value; later failures are the last line of the stream. */
async function sendStream(
  response: ServerResponse,
  values: AsyncIterable<unknown>,
  signal: AbortSignal,
): Promise<void> {
  const iterator = values[Symbol.asyncIterator]();
  const send = async (line: StreamLine) => {
    if (!response.write(`${JSON.stringify(line)}\n`)) await once(response, 'drain', { signal });
  };
  try {
    // A question that is refused is refused at once; a stream that has nothing to tell yet is open all the same.
    const first = iterator.next();
    const refused = first.then(
      () => false,
      () => true,
    );
    if (await Promise.race([refused, nextTurn(false)])) await first;
    response.writeHead(200, { 'content-type': STREAM_TYPE });
    response.flushHeaders();
    try {
      for (let next = await first; !next.done; next = await iterator.next()) await send({ value: next.value });
    } catch (error) {
      if (signal.aborted) return;
      await send({ error: errorOf(error) });
    }
    response.end();
  } finally {
    await iterator.return?.();
  }
}

async function readBody(incoming: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw new AosError('outOfRange', `request is larger than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return size === 0 ? undefined : parseJson(Buffer.concat(chunks).toString(), 'the request');
}

/** Asks a daemon's control socket. Throws the daemon's own error, or `notFound` when no daemon listens. */
export async function askControl<T>(socketPath: string, path: string, body?: unknown): Promise<T> {
  const { status, text } = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    // One connection for one question: a kept one may be closed by the daemon just when it is used again.
    const options = { socketPath, path, method: body === undefined ? 'GET' : 'POST', agent: false } as const;
    const outgoing = request(options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
      response.on('error', reject);
    });
    outgoing.setTimeout(REQUEST_TIMEOUT_MS, () =>
      outgoing.destroy(new AosError('timeout', `no answer on ${socketPath}`)),
    );
    outgoing.on('error', (error) => reject(socketError(error, socketPath)));
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
  const answer = parseJson(text, `the answer on ${socketPath}`);
  if (status === 200) return answer as T;
  throw errorIn(answer, status);
}

/**
 * Sends a stream of bytes to a daemon's control socket, and answers what it says; it may say so before it has read all.
 * Throws the daemon's own error, what the source throws, `notFound` when no daemon listens.
 */
export async function uploadControl<T>(
  socketPath: string,
  path: string,
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<T> {
  const outgoing = request({ socketPath, path, method: 'POST', agent: false, signal });
  const answered = (once(outgoing, 'response') as Promise<[IncomingMessage]>).then(
    ([response]) => ({ response }),
    (error: unknown) => ({ error }),
  );
  try {
    let outcome: Awaited<typeof answered> | undefined;
    answered.then((settled) => {
      outcome = settled;
    });
    for await (const chunk of source) {
      if (outcome) break;
      if (!outgoing.write(chunk)) await Promise.race([answered, once(outgoing, 'drain').catch(() => undefined)]);
    }
    if (!outcome) outgoing.end();
    const settled = await answered;
    if ('error' in settled) throw settled.error;
    const { response } = settled;
    let text = '';
    for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) text += chunk;
    const answer = parseJson(text, `the answer on ${socketPath}`);
    if (response.statusCode === 200) return answer as T;
    throw errorIn(answer, response.statusCode ?? 0);
  } catch (error) {
    throw error instanceof AosError ? error : socketError(error, socketPath);
  } finally {
    outgoing.destroy();
  }
}

/** What a daemon said instead of an answer. */
function errorIn(answer: unknown, status: number): Error {
  const info = (answer as { error?: ErrorInfo } | null)?.error;
  const fallback = { aosCode: ERROR_CODES.failed, exitCode: status, message: JSON.stringify(answer) };
  return fromErrorInfo(info ?? fallback) ?? new AosError('failed', fallback.message);
}

/**
 * Asks a daemon's control socket for a stream; ends when the daemon ends it or the signal aborts. Throws the daemon's own
 * error, `notFound` when no daemon listens, `failed` when it goes away in the middle.
 */
export async function* followControl<T>(
  socketPath: string,
  path: string,
  body: unknown,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const outgoing = request({ socketPath, path, method: 'POST', signal });
  try {
    const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
    outgoing.end(JSON.stringify(body));
    const [response] = await answered;
    const isStream = response.headers['content-type'] === STREAM_TYPE;
    for await (const line of boundedLines(response, isStream ? MAX_STREAM_LINE_BYTES : MAX_BODY_BYTES)) {
      const answer = parseJson(line, `the answer on ${socketPath}`);
      if (!isStream || 'error' in (answer as object)) throw errorIn(answer, response.statusCode ?? 0);
      yield (answer as { value: T }).value;
    }
  } catch (error) {
    if (signal.aborted) return;
    throw socketError(error, socketPath);
  } finally {
    outgoing.destroy();
  }
}

function socketError(error: unknown, socketPath: string): AosError {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ECONNREFUSED') {
    return new AosError('notFound', `no daemon listens on ${socketPath}; is it running?`, { cause: error });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new AosError(
      'failed',
      `${socketPath} is not open to this user; ask as root (sudo) or as a user of its group`,
      {
        cause: error,
      },
    );
  }
  return asAosError(error, error instanceof AosError ? undefined : `cannot ask ${socketPath}`);
}
