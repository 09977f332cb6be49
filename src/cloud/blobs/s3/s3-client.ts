/** Requests to an S3-compatible store: signed, repeated while the store is busy, and refused in words. */
import { createHash } from 'node:crypto';
import { createReadStream, type ReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import * as z from 'zod';
import { AosError, asAosError } from '../../../core/index.ts';
import { EMPTY_SHA256, encodeKey, type S3Credentials, signRequest } from './sign-request.ts';

export interface S3Options {
  /** `https://s3.example`; buckets are named in the path. */
  readonly endpoint: string;
  readonly bucket: string;
  readonly region: string;
  /** JSON: `accessKeyId`, `secretAccessKey`, `sessionToken`. Read for each request, so that it can be replaced. */
  readonly credentialsFile: string;
  /** Certificate authorities besides those of the system, PEM. */
  readonly caPem?: string | undefined;
  /** Pause before the first repetition; each next one is twice as long. */
  readonly pauseMs?: number | undefined;
  /** Longest silence of the store. */
  readonly silenceMs?: number | undefined;
  readonly now: () => Date;
}

/** A file that is to become an object. */
interface Content {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

const ATTEMPTS = 4;
const DEFAULT_PAUSE_MS = 250;
const DEFAULT_SILENCE_MS = 30_000;
const IDLE_CONNECTION_MS = 10_000;
/** An explanation that is longer is none. */
const MAX_EXPLANATION_BYTES = 16 * 1024;
/** Answers after which the same request may succeed. */
const PASSING = new Set([408, 429, 500, 502, 503, 504]);

const Credentials = z.object({
  accessKeyId: z.string().min(1),
  secretAccessKey: z.string().min(1),
  sessionToken: z.string().min(1).optional(),
});

/** What to do about the refusals that have a cause of their own. */
const ADVICE: Readonly<Record<string, string>> = {
  AccessDenied: 'the credentials may not do this; the policy must allow to get, put and delete objects of the bucket',
  ExpiredToken: 'the credentials have expired; put new ones into s3.credentialsFile',
  InvalidAccessKeyId: 'the store does not know the access key in s3.credentialsFile',
  NoSuchBucket: 'there is no such bucket; make it, or mend s3.bucket',
  RequestTimeTooSkewed: 'the clocks of this machine and of the store differ too much; set the clock',
  SignatureDoesNotMatch: 'the secret key in s3.credentialsFile or s3.region is wrong',
};

export class S3Client {
  readonly #options: S3Options;
  readonly #agent: http.Agent;
  readonly #abort = new AbortController();

  constructor(options: S3Options) {
    this.#options = options;
    const { caPem } = options;
    const keep = { keepAlive: true, timeout: IDLE_CONNECTION_MS };
    this.#agent = isSecure(options)
      ? new https.Agent({ ...keep, ...(caPem !== undefined && { ca: [...tls.getCACertificates('system'), caPem] }) })
      : new http.Agent(keep);
  }

  /** Ends what is on its way with `canceled`. */
  stop(): void {
    this.#abort.abort();
    this.#agent.destroy();
  }

  /** Stores a file as an object. Throws what the store says, in words. */
  async put(key: string, path: string): Promise<void> {
    const content = await measure(path);
    const response = await this.#ask('PUT', key, { 'content-type': 'application/octet-stream' }, content);
    response.resume();
  }

  /** A part of an object, both ends included. Throws `notFound`. The stream ends with an error when it is cut off. */
  async get(key: string, start: number, end: number): Promise<IncomingMessage> {
    const response = await this.#ask('GET', key, { range: `bytes=${start}-${end}` });
    const { 'content-range': range = '', 'content-length': length } = response.headers;
    if (response.statusCode !== 206 || !range.startsWith(`bytes ${start}-${end}/`)) {
      response.destroy();
      throw new AosError(
        'runtime',
        `${this.#name(key)}: expected the bytes ${start} to ${end}, the store answers ${response.statusCode} with ` +
          `"${range}" and ${length ?? 'an unknown number of'} bytes; is the object whole, and does the store know ranges?`,
      );
    }
    return response;
  }

  async remove(key: string): Promise<void> {
    try {
      (await this.#ask('DELETE', key, {})).resume();
    } catch (error) {
      if (asAosError(error).code !== 'notFound') throw error;
    }
  }

  async #ask(
    method: string,
    key: string,
    headers: Readonly<Record<string, string>>,
    content?: Content,
  ): Promise<IncomingMessage> {
    const { pauseMs = DEFAULT_PAUSE_MS } = this.#options;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#askOnce(method, key, headers, content);
      } catch (error) {
        const aos = asAosError(error);
        if (this.#abort.signal.aborted) throw new AosError('canceled', `${method} ${this.#name(key)}: the cloud stops`);
        if (aos.fields.passing !== true || attempt === ATTEMPTS) throw aos;
        // Not all who were refused come back at the same moment.
        const restMs = pauseMs * 2 ** (attempt - 1) * (0.5 + Math.random() / 2);
        // A rest that is cut short ends with the next attempt, which is canceled.
        await sleep(restMs, undefined, { signal: this.#abort.signal }).catch(() => undefined);
      }
    }
  }

  async #askOnce(
    method: string,
    key: string,
    headers: Readonly<Record<string, string>>,
    content: Content | undefined,
  ): Promise<IncomingMessage> {
    const { region, now } = this.#options;
    const url = this.#url(key);
    const signed = signRequest({
      ...{ method, url, region, at: now(), credentials: await this.#credentials() },
      headers: { ...headers, ...(content && { 'content-length': String(content.bytes) }) },
      payloadSha256: content?.sha256 ?? EMPTY_SHA256,
    });
    const response = await this.#send(method, url, signed, content).catch((error: Error) => {
      const because = error.message || ((error as NodeJS.ErrnoException).code ?? error.name);
      throw new AosError('runtime', `${method} ${this.#name(key)}: ${because}`, {
        ...{ cause: error, fields: { status: 503, passing: true } },
      });
    });
    const { statusCode = 0 } = response;
    if (statusCode >= 200 && statusCode < 300) return response;
    throw await this.#refusal(`${method} ${this.#name(key)}`, response);
  }

  #send(
    method: string,
    url: URL,
    headers: Record<string, string>,
    content: Content | undefined,
  ): Promise<IncomingMessage> {
    const { silenceMs = DEFAULT_SILENCE_MS } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const library = url.protocol === 'https:' ? https : http;
    const request = library.request(url, { method, headers, agent: this.#agent, signal: this.#abort.signal });
    request.setTimeout(silenceMs, () => request.destroy(new Error(`the store is silent for ${silenceMs} ms`)));
    request.once('response', resolve);
    request.on('error', reject);
    if (content) sendBody(request, createReadStream(content.path));
    else request.end();
    return promise;
  }

  async #refusal(what: string, response: IncomingMessage): Promise<AosError> {
    const { statusCode: status = 0 } = response;
    const text = await explanation(response);
    const code = /<Code>([A-Za-z0-9.]{1,64})<\/Code>/.exec(text)?.[1] ?? '';
    const message = /<Message>([^<]{1,300})<\/Message>/.exec(text)?.[1] ?? '';
    const said = [code, message].filter((part) => part !== '').join(': ');
    const advice = ADVICE[code];
    const words = `${what}: the store answers ${status}${said && ` (${said})`}${advice ? `; ${advice}` : ''}`;
    if (status === 404 && code !== 'NoSuchBucket') return new AosError('notFound', words, { exitCode: status });
    const fields = { status: 503, passing: PASSING.has(status) };
    return new AosError('runtime', words, { exitCode: status, fields });
  }

  async #credentials(): Promise<S3Credentials> {
    const { credentialsFile } = this.#options;
    try {
      return Credentials.parse(JSON.parse(await readFile(credentialsFile, 'utf8')));
    } catch (error) {
      // Neither the content nor the words of a parser that quotes it.
      const because = (error as NodeJS.ErrnoException).code ?? 'it is not what is expected';
      throw new AosError(
        'runtime',
        `${credentialsFile} cannot be read (${because}); expected JSON with "accessKeyId" and "secretAccessKey"`,
        { fields: { status: 503 } },
      );
    }
  }

  #url(key: string): URL {
    const { endpoint, bucket } = this.#options;
    return new URL(`${endpoint.replace(/\/+$/, '')}/${encodeKey(`${bucket}/${key}`)}`);
  }

  #name(key: string): string {
    return `s3://${this.#options.bucket}/${key} at ${this.#options.endpoint}`;
  }
}

const isSecure = ({ endpoint }: S3Options): boolean => endpoint.toLowerCase().startsWith('https:');

async function measure(path: string): Promise<Content> {
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { path, bytes, sha256: hash.digest('hex') };
}

/** A store that refuses early does not read the rest; its answer says why. */
function sendBody(request: ClientRequest, body: ReadStream): void {
  body.on('error', (error) => request.destroy(error));
  request.once('error', () => body.destroy());
  request.once('response', (response) => {
    if (request.writableEnded) return;
    body.unpipe(request);
    body.destroy();
    response.once('close', () => request.destroy());
  });
  body.pipe(request);
}

async function explanation(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > MAX_EXPLANATION_BYTES) break;
      chunks.push(chunk);
    }
  } catch {
    // The status alone has to do: the store ended the connection with it.
  }
  return Buffer.concat(chunks).toString('utf8');
}
