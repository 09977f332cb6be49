/** What stands between a unit and the blobs of its cloud, and does to them what networks and servers do. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { makeCertificate } from '../../src/storage/certificates-for-tests.ts';

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The whole file, as the cloud has it. */
  readonly content: Buffer;
  /** Where the range begins that was asked for; 0 for all of it. */
  readonly from: number;
  /** How often this file was asked for before. */
  readonly before: number;
  /** Root of a server that nobody's authority vouches for. */
  readonly foreignUrl: string;
}

export type Trouble = (exchange: Exchange) => Promise<void> | void;

const PATH = '/blobs';
/** What encryption, tar and gzip add to a file that does not compress. */
const MOST_OVERHEAD_BYTES = 6000;

export class BlobProxy {
  readonly #server: http.Server;
  readonly #foreign: https.Server;
  readonly #troubles = new Map<number, Trouble>();
  readonly #asked = new Map<string, number>();
  /** Bytes of blobs, and of parts of them, that were passed on without trouble. */
  sentBytes = 0;
  #upstream: { readonly url: string; readonly ca: string } | undefined;

  private constructor(foreign: https.Server) {
    this.#foreign = foreign;
    this.#server = http.createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  static async open(): Promise<BlobProxy> {
    const root = await makeCertificate('nobody', { ca: true });
    const leaf = await makeCertificate('localhost', { issuer: root, dnsName: 'localhost' });
    const key = leaf.privateKey.export({ format: 'pem', type: 'pkcs8' });
    const foreign = https.createServer({ cert: leaf.pem, key }, (_, response) => response.end('nothing'));
    const proxy = new BlobProxy(foreign);
    for (const server of [proxy.#server, foreign]) {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    }
    return proxy;
  }

  /** What units put in front of the name of a blob. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${PATH}`;
  }

  /** Where the blobs are. */
  standBefore(url: string, caFile: string): void {
    this.#upstream = { url, ca: readFileSync(caFile, 'utf8') };
  }

  /** What happens to the blob that holds a file of so many bytes that do not compress. */
  trouble(noiseBytes: number, trouble: Trouble): void {
    this.#troubles.set(noiseBytes, trouble);
  }

  /** From now on all is well; what is still in trouble breaks off. */
  mend(): void {
    this.#troubles.clear();
    this.#server.closeAllConnections();
  }

  async close(): Promise<void> {
    for (const server of [this.#server, this.#foreign]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const file = (request.url ?? '').slice(PATH.length);
    const answer = await this.#ask(file, request);
    const total = Number(
      /\/(\d+)$/.exec(answer.headers['content-range'] ?? '')?.[1] ?? answer.headers['content-length'],
    );
    const trouble = [...this.#troubles].find(([bytes]) => total >= bytes && total < bytes + MOST_OVERHEAD_BYTES)?.[1];
    if (!trouble) {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on('data', (bytes: Buffer) => {
        this.sentBytes += bytes.length;
      });
      await pipeline(answer, response);
      return;
    }
    answer.destroy();
    const before = this.#asked.get(file) ?? 0;
    this.#asked.set(file, before + 1);
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const content = Buffer.concat(await (await this.#ask(file)).toArray());
    const { port } = this.#foreign.address() as AddressInfo;
    await trouble({ request, response, content, from, before, foreignUrl: `https://localhost:${port}/` });
  }

  async #ask(file: string, request?: IncomingMessage): Promise<IncomingMessage> {
    const { url, ca } = this.#upstream!;
    const { range, 'if-range': ifRange } = request?.headers ?? {};
    const headers = { ...(range && { range }), ...(ifRange && { 'if-range': String(ifRange) }) };
    const asked = https.get(url + file, { ca, headers, agent: false });
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    return answer;
  }
}

/** The file from `from` on, whole and right. */
export function sendRest({ response, content, from }: Exchange, mostBytes = content.length - from): void {
  const headers = { 'content-length': content.length - from, etag: '"1"', 'accept-ranges': 'bytes' };
  if (from === 0) response.writeHead(200, headers);
  else {
    response.writeHead(206, { ...headers, 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` });
  }
  response.write(content.subarray(from, from + mostBytes));
  if (from + mostBytes >= content.length) response.end();
}
