/** Access to a running cloud for tests, as its operator. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Agent, type RequestOptions, request } from 'node:https';
import { join } from 'node:path';
import { digestOf } from '../core/index.ts';
import type { Endpoints } from './cloud.ts';

export interface HttpAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

export function fetchHttps(url: string, options: RequestOptions, body?: string | Buffer): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, options, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }),
      );
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

export class CloudAccess {
  readonly directory: string;
  readonly endpoints: Endpoints;
  readonly root: string;
  readonly #agent: Agent;

  /** The directory holds the cloud's `work`. */
  constructor(directory: string, endpoints: Endpoints) {
    this.directory = directory;
    this.endpoints = endpoints;
    this.root = this.#pki('root.pem');
    this.#agent = new Agent({
      keepAlive: true,
      ca: this.root,
      cert: this.#pki('operator.pem'),
      key: this.#pki('operator-key.pem'),
    });
  }

  disconnect(): void {
    this.#agent.destroy();
  }

  ask(method: string, path: string, body?: unknown): Promise<HttpAnswer> {
    const content = body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body);
    return fetchHttps(this.endpoints.restUrl + path, { method, agent: this.#agent }, content);
  }

  /** The JSON answer; throws with the words of a refusal. */
  async must<T = unknown>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await this.ask(method, path, body);
    const text = answer.body.toString();
    if (answer.status >= 300) throw new Error(`${answer.status} to ${method} ${path}: ${text}`);
    return (text === '' ? undefined : JSON.parse(text)) as T;
  }

  /** Uploads content; answers its descriptor. */
  async upload(content: Buffer | string, mediaType = 'application/octet-stream') {
    const bytes = Buffer.from(content);
    const digest = digestOf(bytes);
    await this.must('PUT', `/api/blobs/${digest}`, bytes);
    return { mediaType, digest, size: bytes.length };
  }

  /** Publishes an item of one layer with this content; answers the digests of its blobs. */
  async publish(id: string, version: string, layer: Buffer | string = randomUUID(), type = 'service') {
    const put = (value: unknown) => this.upload(JSON.stringify(value));
    const blob = await this.upload(layer, 'application/vnd.oci.image.layer.v1.tar');
    const config = await put({
      architecture: 'amd64',
      os: 'linux',
      rootfs: { type: 'layers', diff_ids: [blob.digest] },
    });
    const aosItemConfig = await put({ runtimes: [{ codename: 'crun' }] });
    const manifest = await put({ schemaVersion: 2, config, aosItemConfig, layers: [blob] });
    const index = await put({ schemaVersion: 2, manifests: [manifest] });
    await this.must('PUT', `/api/items/${id}/${version}`, { type, indexDigest: index.digest });
    return { index: index.digest, layer: blob.digest, blobs: [index, manifest, config, aosItemConfig, blob] };
  }

  #pki(name: string): string {
    return readFileSync(join(this.directory, 'work', 'pki', name), 'utf8');
  }
}
