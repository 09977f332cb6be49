/** The REST interface of AosCloud and of aos-cloud, with the operator's certificate (spec/provisioning.md 7). */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { Agent, type RequestOptions, request } from 'node:https';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createSecureContext, type SecureContext, type SecureContextOptions, TLSSocket } from 'node:tls';
import { AosError, asAosError, isObject, parseJson } from '../core/index.ts';
import { UNREACHABLE } from './exit-codes.ts';
import type { Profile } from './profile.ts';

/** Port of the REST interface when the address names none. */
const DEFAULT_PORT = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
const MAX_ERROR_TEXT = 2000;
/** How a connection ends that the other side has closed. */
const LOST: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE']);

/** An answer other than 2xx. */
export class HttpStatusError extends AosError {
  readonly status: number;

  constructor(status: number, message: string) {
    super(status === 404 ? 'notFound' : status === 409 ? 'alreadyExist' : 'failed', message, { exitCode: status });
    this.status = status;
  }
}

export interface Body {
  readonly contentType: string;
  readonly content: string | Readable;
  readonly sizeBytes?: number;
}

/** One message of a stream of server-sent events. */
export interface ServerEvent {
  readonly event: string;
  readonly data: unknown;
}

function read(path: string | undefined, what: string): Buffer | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path);
  } catch (error) {
    throw new AosError('invalidArgument', `cannot read ${what} ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** The certificate in a file, the first of several. Throws `invalidArgument` naming the file. */
function certificateIn(content: Buffer, what: string, path: string): X509Certificate {
  try {
    return new X509Certificate(content);
  } catch (error) {
    throw new AosError('invalidArgument', `${what} ${path} holds no certificate (PEM)`, { cause: error });
  }
}

/** The address of a cloud: `host`, `host:port` or `https://host:port`. Throws `invalidArgument` naming it. */
function addressOf(host: string): URL {
  const text = host.includes('://') ? host : `https://${host}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== 'https:') {
    throw new AosError('invalidArgument', `"${host}" is no address of a cloud: expected https://host:${DEFAULT_PORT}`);
  }
  if (url.port === '') url.port = String(DEFAULT_PORT);
  return url;
}

/** Credentials that fit together. Throws `invalidArgument` naming the files. */
function secure(options: SecureContextOptions, files: string): SecureContext {
  try {
    return createSecureContext(options);
  } catch (error) {
    throw new AosError('invalidArgument', `${files} cannot be used: ${(error as Error).message}`, { cause: error });
  }
}

export class CloudClient {
  readonly #base: URL;
  readonly #agent: Agent;
  readonly #reason: string | undefined;
  readonly #timeoutMs: number;
  /** The file with the operator's certificate. */
  readonly #certificatePath: string;

  constructor(profile: Profile, timeoutMs = REQUEST_TIMEOUT_MS) {
    this.#timeoutMs = timeoutMs;
    this.#reason = profile.because;
    if (profile.cert !== undefined && profile.p12 !== undefined) {
      throw new AosError('invalidArgument', 'two certificates are named: give --cert and --key, or --p12, not both');
    }
    if (profile.cert !== undefined && profile.key === undefined) {
      throw new AosError('invalidArgument', `no key is named for the certificate ${profile.cert}: give --key`);
    }
    const certificate = read(profile.cert, 'the operator certificate');
    const parsed = certificate && certificateIn(certificate, 'the operator certificate', profile.cert!);
    // An operator certificate belongs to the host that is its organisation (spec/provisioning.md 7).
    const host = profile.cloud ?? /^O=(.+)$/m.exec(parsed?.subject ?? '')?.[1];
    if (host === undefined) {
      throw new AosError(
        'invalidArgument',
        'no cloud is named: give --cloud https://host:10000, or a profile with "cloud"',
      );
    }
    this.#base = addressOf(host);
    if (certificate === undefined && profile.p12 === undefined) {
      throw new AosError(
        'invalidArgument',
        'no operator certificate is named: give --cert and --key, or --p12, or a profile',
      );
    }
    this.#certificatePath = (profile.cert ?? profile.p12)!;
    const ca = read(profile.ca, 'the CA file');
    if (ca !== undefined) certificateIn(ca, 'the CA file', profile.ca!);
    const own = {
      cert: certificate,
      key: read(profile.key, 'the operator key'),
      pfx: read(profile.p12, 'the PKCS#12 file'),
    };
    const files = profile.p12 ?? `the operator certificate ${profile.cert} with the key ${profile.key}`;
    this.#agent = new Agent({ keepAlive: true, secureContext: secure({ ca, ...own }, files) });
  }

  get url(): string {
    return this.#base.origin;
  }

  async get<T>(path: string): Promise<T> {
    return this.#json<T>(await this.#send('GET', path), path);
  }

  async send<T>(method: 'POST' | 'PUT' | 'DELETE', path: string, value?: unknown): Promise<T> {
    const body = value === undefined ? undefined : { contentType: 'application/json', content: JSON.stringify(value) };
    return this.#json<T>(await this.#send(method, path, body), path);
  }

  /** An answer of any size, to be read as it comes. */
  receive(method: 'POST', path: string, value: unknown): Promise<Readable> {
    return this.#send(method, path, { contentType: 'application/json', content: JSON.stringify(value) });
  }

  /** True when the resource is there. */
  async exists(path: string): Promise<boolean> {
    try {
      (await this.#send('HEAD', path)).resume();
      return true;
    } catch (error) {
      if (error instanceof HttpStatusError && error.status === 404) return false;
      throw error;
    }
  }

  async upload(path: string, body: Body): Promise<void> {
    (await this.#send('PUT', path, body)).resume();
  }

  /** Server-sent events until the signal aborts or the server ends the stream. */
  async *events(path: string, signal: AbortSignal): AsyncGenerator<ServerEvent> {
    let buffered = '';
    try {
      const response = await this.#send('GET', path, undefined, { accept: 'text/event-stream', signal });
      response.setEncoding('utf8');
      for await (const chunk of response as AsyncIterable<string>) {
        buffered += chunk;
        for (let end = buffered.indexOf('\n\n'); end >= 0; end = buffered.indexOf('\n\n')) {
          const event = parseServerEvent(buffered.slice(0, end));
          buffered = buffered.slice(end + 2);
          if (event) yield event;
        }
      }
    } catch (error) {
      if (!signal.aborted) throw asAosError(error, `the events of ${this.url} broke off`);
    }
  }

  /** What somebody does whom the cloud does not let in. */
  #whatNext(status: number, text: string, shown: X509Certificate | undefined): string {
    if (status !== 401 && !/no certificate or token of a person/.test(text)) return '';
    const next = 'ask whoever runs the cloud for a new one: "aosctl user certificate"';
    if (shown === undefined || shown.validToDate > new Date()) return `; ${next}`;
    return `; the certificate ${this.#certificatePath} has expired on ${shown.validToDate.toISOString()}: ${next}`;
  }

  close(): void {
    this.#agent.destroy();
  }

  async #json<T>(response: IncomingMessage, path: string): Promise<T> {
    const text = await readText(response, Number.POSITIVE_INFINITY);
    return (text === '' ? undefined : parseJson(text, `the answer of ${this.url}${path}`)) as T;
  }

  async #send(
    method: string,
    path: string,
    body?: Body,
    extra: { readonly accept?: string; readonly signal?: AbortSignal } = {},
  ): Promise<IncomingMessage> {
    const options: RequestOptions = {
      method,
      agent: this.#agent,
      headers: {
        accept: extra.accept ?? 'application/json',
        // A header takes no other letters than those of English.
        ...(this.#reason !== undefined && { 'x-aos-reason': encodeURIComponent(this.#reason) }),
        ...(body && { 'content-type': body.contentType }),
        ...(body?.sizeBytes !== undefined && { 'content-length': body.sizeBytes }),
      },
      ...(extra.signal && { signal: extra.signal }),
    };
    const response = await this.#exchange(new URL(path, this.#base), options, body);
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    // TLS knows what is in a PKCS#12 file, and forgets it with the connection.
    const { socket } = response;
    const shown = socket instanceof TLSSocket ? socket.getX509Certificate() : undefined;
    const text = await readText(response, MAX_ERROR_TEXT);
    throw new HttpStatusError(
      status,
      `${errorText(text)}${this.#whatNext(status, text, shown)} (${this.url} answered ${status} to ${method} ${path})`,
    );
  }

  #exchange(url: URL, options: RequestOptions, body: Body | undefined): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) =>
        reject(
          new AosError('failed', `cannot reach the cloud at ${url.origin}: ${asAosError(error).message}`, {
            cause: error,
            fields: UNREACHABLE,
          }),
        );
      let answered = false;
      const outgoing = request(url, options, (response) => {
        answered = true;
        resolve(response);
      });
      const giveUp = () => {
        // After the head of an answer silence is allowed: a stream of events has nothing to say for hours.
        if (!answered) outgoing.destroy(new AosError('timeout', `no answer within ${this.#timeoutMs / 1000} s`));
      };
      if (isStream(body)) outgoing.setTimeout(this.#timeoutMs, giveUp);
      else {
        // Sockets that have never got rid of what they were given wait twice as long as they are told.
        const timer = setTimeout(giveUp, this.#timeoutMs);
        for (const event of ['response', 'close']) outgoing.once(event, () => clearTimeout(timer));
      }
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        // The cloud closed an idle connection at the moment it was used again: nobody has read the request.
        const isUnread = !answered && outgoing.reusedSocket && LOST.has(error.code ?? '');
        if (isUnread && isRepeatable(options.method, body)) resolve(this.#exchange(url, options, body));
        else fail(error);
      });
      if (!isStream(body)) outgoing.end(body?.content);
      else {
        const { content } = body;
        // What the content itself complains about is no fault of the connection.
        content.once('error', (error) => reject(asAosError(error)));
        pipeline(content, outgoing).catch(fail);
      }
    });
  }
}

/** Whether asking twice is as good as asking once (RFC 9110, 9.2.2), and possible. */
function isRepeatable(method: string | undefined, body: Body | undefined): boolean {
  return method !== 'POST' && !isStream(body);
}

function isStream(body: Body | undefined): body is Body & { readonly content: Readable } {
  return body !== undefined && typeof body.content !== 'string';
}

async function readText(response: IncomingMessage, limit: number): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response as AsyncIterable<string>) {
    if (text.length < limit) text += chunk;
  }
  return text.slice(0, limit);
}

/** What a person should read of an error answer: the detail of a problem document, or its text. */
function errorText(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return String(value.detail ?? value.title ?? text);
  } catch {
    // Not JSON: AosCloud answers with text too.
  }
  return text.trim() || 'the cloud refused without a reason';
}

function parseServerEvent(block: string): ServerEvent | undefined {
  let event = 'message';
  const data: string[] = [];
  for (const line of block.split('\n')) {
    if (line.startsWith('event:')) event = line.slice(6).trim();
    if (line.startsWith('data:')) data.push(line.slice(5).trim());
  }
  return data.length === 0 ? undefined : { event, data: parseJson(data.join('\n'), 'an event of the cloud') };
}
