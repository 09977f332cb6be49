/** An S3-compatible store for tests: it believes nothing that is not signed, and fails as it is told to. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface DoubleOptions {
  readonly bucket: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** What happens to the next requests instead of an answer. */
export type Trouble =
  | { readonly do: 'answer'; readonly status: number; readonly code: string; readonly message: string }
  /** Half of the object, and then nothing more. */
  | { readonly do: 'cut' }
  | { readonly do: 'silence' }
  /** An old store that gives the whole object instead of a part. */
  | { readonly do: 'ignore ranges' };

const MAX_SKEW_MS = 15 * 60_000;
const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^/,]+)\/(\d{8})\/([^/,]+)\/s3\/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/;

class Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export class S3Double {
  readonly objects = new Map<string, Buffer>();
  /** Method and path of what was asked for, in order. */
  readonly requests: string[] = [];
  readonly #options: DoubleOptions;
  readonly #server: Server;
  readonly #troubles: Trouble[] = [];

  private constructor(options: DoubleOptions) {
    this.#options = options;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        if (!(error instanceof Refusal)) {
          response.destroy();
          return;
        }
        response.writeHead(error.status, { 'content-type': 'application/xml' });
        response.end(
          `<?xml version="1.0"?><Error><Code>${error.code}</Code><Message>${error.message}</Message></Error>`,
        );
      });
    });
  }

  static async start(options: DoubleOptions): Promise<S3Double> {
    const double = new S3Double(options);
    await new Promise<void>((resolve) => double.#server.listen(0, '127.0.0.1', resolve));
    return double;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next requests that are signed well fare like this, one each. */
  trouble(...troubles: Trouble[]): void {
    this.#troubles.push(...troubles);
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    this.requests.push(`${method} ${url}`);
    this.#verify(request);
    const trouble = this.#troubles.shift();
    if (trouble?.do === 'silence') return;
    if (trouble?.do === 'answer') throw new Refusal(trouble.status, trouble.code, trouble.message);
    const [, bucket, ...key] = decodeURIComponent(url).split('/');
    if (bucket !== this.#options.bucket) throw new Refusal(404, 'NoSuchBucket', 'The bucket does not exist');
    const name = key.join('/');
    switch (method) {
      case 'PUT':
        await this.#put(name, request);
        response.writeHead(200).end();
        return;
      case 'GET':
        this.#get(name, request, response, trouble);
        return;
      case 'DELETE':
        this.objects.delete(name);
        response.writeHead(204).end();
        return;
      default:
        throw new Refusal(405, 'MethodNotAllowed', method);
    }
  }

  async #put(name: string, request: IncomingMessage): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const content = Buffer.concat(chunks);
    if (createHash('sha256').update(content).digest('hex') !== request.headers['x-amz-content-sha256']) {
      throw new Refusal(400, 'XAmzContentSHA256Mismatch', 'The body is another one');
    }
    this.objects.set(name, content);
  }

  #get(name: string, request: IncomingMessage, response: ServerResponse, trouble: Trouble | undefined): void {
    const content = this.objects.get(name);
    if (!content) throw new Refusal(404, 'NoSuchKey', 'The key does not exist');
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '') ?? [];
    if (first === undefined || trouble?.do === 'ignore ranges') {
      response.writeHead(200, { 'content-length': content.length }).end(content);
      return;
    }
    if (Number(first) >= content.length) throw new Refusal(416, 'InvalidRange', 'There is nothing');
    const part = content.subarray(Number(first), Number(last) + 1);
    const end = Number(first) + part.length - 1;
    response.writeHead(206, {
      'content-length': part.length,
      'content-range': `bytes ${first}-${end}/${content.length}`,
    });
    if (trouble?.do === 'cut') response.write(part.subarray(0, part.length / 2), () => response.destroy());
    else response.end(part);
  }

  /** Rebuilds what must have been signed from what has arrived. */
  #verify(request: IncomingMessage): void {
    const { region, accessKeyId, secretAccessKey } = this.#options;
    const match = AUTHORIZATION.exec(request.headers.authorization ?? '');
    if (!match) throw new Refusal(400, 'AuthorizationHeaderMalformed', 'The header is not understood');
    const [, id, day, theirRegion, names = '', signature = ''] = match;
    if (id !== accessKeyId) throw new Refusal(403, 'InvalidAccessKeyId', 'The access key does not exist');
    if (theirRegion !== region) throw new Refusal(400, 'AuthorizationHeaderMalformed', `The region must be ${region}`);
    const time = String(request.headers['x-amz-date']);
    const sentAt = Date.parse(time.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
    if (!(Math.abs(sentAt - Date.now()) < MAX_SKEW_MS) || !time.startsWith(day!)) {
      throw new Refusal(403, 'RequestTimeTooSkewed', 'The times differ too much');
    }
    const signed = names.split(';');
    for (const needed of ['host', ...Object.keys(request.headers).filter((name) => name.startsWith('x-amz-'))]) {
      if (!signed.includes(needed)) throw new Refusal(403, 'AccessDenied', `${needed} is not signed`);
    }
    let canonical = `${request.method}\n${uriEncoded(decodeURIComponent(request.url ?? ''))}\n\n`;
    for (const name of signed) canonical += `${name}:${String(request.headers[name]).trim()}\n`;
    canonical += `\n${names}\n${request.headers['x-amz-content-sha256']}`;
    const digest = createHash('sha256').update(canonical).digest('hex');
    const mac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest();
    const key = mac(mac(mac(mac(`AWS4${secretAccessKey}`, day!), region), 's3'), 'aws4_request');
    const expected = mac(key, `AWS4-HMAC-SHA256\n${time}\n${day}/${region}/s3/aws4_request\n${digest}`);
    if (!timingSafeEqual(expected, Buffer.from(signature, 'hex'))) {
      throw new Refusal(403, 'SignatureDoesNotMatch', 'The signature is not that of the request');
    }
  }
}

/** Byte by byte, all but the unreserved characters and the slash. */
function uriEncoded(path: string): string {
  return [...Buffer.from(path)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[A-Za-z0-9\-._~/]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
    })
    .join('');
}
