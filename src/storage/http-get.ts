/** GET requests over HTTP and HTTPS: redirects, trust, and time-outs for servers that are silent. */
import http, { type IncomingMessage } from 'node:http';
import https from 'node:https';
import tls from 'node:tls';
import { AosError, asAosError, canceledBy } from '../core/index.ts';

const MAX_REDIRECTS = 5;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const IDLE_CONNECTION_MS = 10_000;
const MAX_REMEMBERED_TRUST = 4;
/** A server that sends less in the time of a silence drips: it would hold a download for years. */
const LEAST_BYTES = 1024;

export interface GetOptions {
  readonly headers: Readonly<Record<string, string>>;
  /** Additional certificate authorities, PEM. */
  readonly caPem: readonly string[];
  readonly connectTimeoutMs: number;
  /** Longest time without an answer, and without bytes worth the wait while it goes on. */
  readonly idleTimeoutMs: number;
  readonly signal: AbortSignal;
}

/** An answer whose body is read with `chunks`, which ends with an error when the server falls silent. */
export interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly chunks: AsyncIterable<Buffer>;
  /** Ends the connection unless the body was read to its end. */
  drop(): void;
}

/** An address as it may stand in logs: queries of signed addresses and passwords are secrets. */
export function describeUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** Connections that are kept for the next request, and the certificate authorities that are believed. */
export class HttpClient {
  readonly #plain = new http.Agent({ keepAlive: true, timeout: IDLE_CONNECTION_MS });
  readonly #secure = new Map<string, https.Agent>();
  #systemCas: string[] | undefined;

  /** Follows redirects. Throws `timeout`, `canceled`, or `runtime` for what the network or a redirect does wrong. */
  async get(url: URL, options: GetOptions): Promise<Answer> {
    let next = url;
    for (let redirects = 0; ; redirects += 1) {
      const answer = await this.#request(next, options);
      const location = answer.headers.location;
      if (!REDIRECTS.has(answer.status) || location === undefined) return answer;
      answer.drop();
      if (redirects === MAX_REDIRECTS) {
        throw new AosError('runtime', `${describeUrl(url)} redirects more than ${MAX_REDIRECTS} times`);
      }
      next = redirectTarget(next, location);
    }
  }

  close(): void {
    this.#plain.destroy();
    for (const agent of this.#secure.values()) agent.destroy();
    this.#secure.clear();
  }

  #request(url: URL, options: GetOptions): Promise<Answer> {
    const { signal } = options;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const fail = (error: unknown) => reject(networkError(error, url, signal));
    const agent = url.protocol === 'https:' ? this.#secureAgent(options.caPem) : this.#plain;
    const library = url.protocol === 'https:' ? https : http;
    const request = library.request(url, { agent, headers: options.headers, signal });
    const watchdog = new Watchdog((error) => request.destroy(error));
    const waitForAnswer = () => watchdog.watch(options.idleTimeoutMs, `${describeUrl(url)} does not answer`);

    watchdog.watch(options.connectTimeoutMs, `cannot connect to ${url.host}`);
    request.once('socket', (socket) => {
      // A connection of an earlier request is there at once.
      if (!socket.connecting) waitForAnswer();
      else socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', waitForAnswer);
    });
    request.once('error', (error) => {
      watchdog.rest();
      fail(error);
    });
    request.once('response', (response) => {
      watchdog.rest();
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        chunks: readBody(response, url, options),
        drop: () => response.destroy(),
      });
    });
    request.end();
    return promise;
  }

  #secureAgent(caPem: readonly string[]): https.Agent {
    const key = caPem.join('\n');
    const known = this.#secure.get(key);
    if (known) return known;
    const oldest = this.#secure.keys().next();
    if (this.#secure.size >= MAX_REMEMBERED_TRUST && !oldest.done) this.#secure.delete(oldest.value);
    this.#systemCas ??= tls.getCACertificates('system');
    const secureContext = tls.createSecureContext({ ca: [...this.#systemCas, ...caPem] });
    const agent = new https.Agent({ keepAlive: true, timeout: IDLE_CONNECTION_MS, secureContext });
    this.#secure.set(key, agent);
    return agent;
  }
}

/** Ends something that stays silent for too long. */
class Watchdog {
  readonly #bite: (error: AosError) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(bite: (error: AosError) => void) {
    this.#bite = bite;
  }

  watch(timeoutMs: number, complaint: string, afterMs = timeoutMs): void {
    this.rest();
    // The error is made when it is needed: this is called for each piece of a large file.
    this.#timer = setTimeout(
      () => this.#bite(new AosError('timeout', `${complaint} for ${timeoutMs / 1000} s`)),
      afterMs,
    );
  }

  rest(): void {
    clearTimeout(this.#timer);
  }
}

/**
 * The server is watched only while its bytes are waited for, not while the reader is busy. A few bytes now and then do
 * not begin the wait anew.
 */
async function* readBody(response: IncomingMessage, url: URL, options: GetOptions): AsyncGenerator<Buffer> {
  const watchdog = new Watchdog((error) => response.destroy(error));
  const { idleTimeoutMs } = options;
  let [waitedMs, bytes, sinceMs] = [0, 0, 0];
  const expectBytes = () => {
    const sends = bytes === 0 ? 'sends nothing' : `sends no more than ${bytes} bytes`;
    sinceMs = performance.now();
    watchdog.watch(idleTimeoutMs, `${describeUrl(url)} ${sends}`, Math.max(0, idleTimeoutMs - waitedMs));
  };
  try {
    expectBytes();
    for await (const chunk of response as AsyncIterable<Buffer>) {
      watchdog.rest();
      waitedMs += performance.now() - sinceMs;
      bytes += chunk.byteLength;
      if (bytes >= LEAST_BYTES) [waitedMs, bytes] = [0, 0];
      yield chunk;
      expectBytes();
    }
  } catch (error) {
    // A stream that breaks tells so at once, and keeps to itself what had arrived before.
    const arrived = response.read() as Buffer | null;
    if (arrived) yield arrived;
    throw networkError(error, url, options.signal);
  } finally {
    watchdog.rest();
    response.destroy();
  }
}

function redirectTarget(from: URL, location: string): URL {
  const target = URL.parse(location, from.href);
  if (!target || (target.protocol !== 'http:' && target.protocol !== 'https:')) {
    throw new AosError('runtime', `${describeUrl(from)} redirects to an address that is not HTTP`);
  }
  if (from.protocol === 'https:' && target.protocol === 'http:') {
    throw new AosError('runtime', `${describeUrl(from)} redirects to ${describeUrl(target)}, which is not encrypted`);
  }
  return target;
}

function networkError(error: unknown, url: URL, signal: AbortSignal): AosError {
  if (signal.aborted) return canceledBy(signal);
  const aos = asAosError(error);
  if (aos.code === 'timeout') return aos;
  // A refused or broken connection is the network's failure, whatever class its number has elsewhere.
  return new AosError('runtime', `${describeUrl(url)}: ${aos.message}`, { cause: error, exitCode: aos.exitCode });
}
