/** A cloud of blobs for tests: items made on the spot, encrypted and signed, served over HTTP on the loopback interface. */
import { createCipheriv, createHash, randomBytes, sign, X509Certificate } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AosError, type Clock, type Digest, digestOf, systemClock, throwIfCanceled } from '../../core/index.ts';
import type { BlobInfo } from '../../protocol/index.ts';
import { makeCertificate, type TestIdentity } from '../../storage/certificates-for-tests.ts';
import type { SignatureTrust } from '../../storage/index.ts';
import type { BlobSource } from './blob-source.ts';
import type { WantedItem } from './plan-items.ts';

/** Waits shortly whatever it is asked for, and remembers what that was. */
export function hurriedClock(): Clock & { readonly slept: number[]; offsetMs: number; dateOffsetMs: number } {
  const slept: number[] = [];
  const clock = {
    slept,
    offsetMs: 0,
    /** Of the date alone. */
    dateOffsetMs: 0,
    monotonicMs: () => systemClock.monotonicMs() + clock.offsetMs,
    now: () => new Date(systemClock.now().getTime() + clock.offsetMs + clock.dateOffsetMs),
    sleep: async (durationMs: number, signal: AbortSignal) => {
      slept.push(durationMs);
      // The rare look at old items is not what tests wait for.
      if (durationMs > 3_600_000) return systemClock.sleep(durationMs, signal);
      await new Promise((resolve) => setTimeout(resolve, 1));
      throwIfCanceled(signal);
    },
  };
  return clock;
}

interface Published {
  readonly plain: Buffer;
  readonly file: Buffer;
  readonly info: Omit<BlobInfo, 'urls'>;
}

export interface ImageParts {
  readonly layers?: readonly Buffer[];
  readonly itemConfig?: object;
  readonly architecture?: string;
}

export class Publisher implements BlobSource {
  readonly blobs = new Map<Digest, Published>();
  /** Digests in the order in which they were asked for. */
  readonly asked: Digest[] = [];
  /** What the unit would begin with, by the digest that it asked for last. */
  readonly basesFor = new Map<Digest, readonly Digest[]>();
  /** `GET <hex> <range>` in the order of arrival. */
  readonly requests: string[] = [];
  /** What happens to a request instead of an answer, by digest. */
  readonly trouble = new Map<Digest, (response: ServerResponse, file: Buffer) => boolean>();
  #server: Server;
  #root!: TestIdentity;
  #signer!: TestIdentity;

  private constructor() {
    this.#server = createServer((request, response) => this.#serve(request, response));
  }

  static async open(): Promise<Publisher> {
    const publisher = new Publisher();
    publisher.#root = await makeCertificate('root', { ca: true });
    publisher.#signer = await makeCertificate('signer', { issuer: publisher.#root });
    await new Promise<void>((resolve) => publisher.#server.listen(0, '127.0.0.1', resolve));
    return publisher;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Whom a unit believes that was told of the signer. */
  get trust(): SignatureTrust {
    return {
      certificates: [{ fingerprint: 'F1', der: this.#signer.der }],
      chains: [{ name: 'items', fingerprints: ['f1'] }],
      roots: [new X509Certificate(this.#root.pem)],
      claimedTime: {},
    };
  }

  async locate(digest: Digest, _signal?: AbortSignal, bases: readonly Digest[] = []): Promise<BlobInfo> {
    this.asked.push(digest);
    this.basesFor.set(digest, bases);
    const blob = this.blobs.get(digest);
    if (!blob) throw new AosError('notFound', `the cloud does not have blob ${digest}`);
    return { ...blob.info, urls: [this.urlOf(digest)] };
  }

  urlOf(digest: Digest): string {
    const { port } = this.#server.address() as AddressInfo;
    return `http://127.0.0.1:${port}/${digest.slice('sha256:'.length)}`;
  }

  /** Encrypts, signs and offers a blob. */
  put(plain: Buffer): Digest {
    const digest = digestOf(plain);
    const [key, iv] = [randomBytes(32), randomBytes(16)];
    const cipher = createCipheriv('aes-256-cbc', key, iv);
    const file = Buffer.concat([cipher.update(plain), cipher.final()]);
    const info = {
      digest,
      sha256: createHash('sha3-256').update(file).digest('hex'),
      size: file.length,
      decryptInfo: { blockAlg: 'AES256/CBC', blockIv: iv.toString('base64'), blockKey: key.toString('base64') },
      signInfo: {
        chainName: 'items',
        alg: 'EC/SHA256',
        value: sign('sha256', plain, this.#signer.privateKey).toString('base64'),
        trustedTimestamp: new Date().toISOString(),
      },
    };
    this.blobs.set(digest, { plain, file, info });
    return digest;
  }

  /** Changes what is told of a blob. */
  tell(digest: Digest, change: Partial<BlobInfo>): void {
    const blob = this.blobs.get(digest)!;
    this.blobs.set(digest, { ...blob, info: { ...blob.info, ...change } });
  }

  /** Offers a version of an item; the digests are those of its parts. */
  publish(
    itemId: string,
    version: string,
    parts: ImageParts = {},
  ): WantedItem & { readonly layers: readonly Digest[] } {
    const json = (value: object) => this.put(Buffer.from(JSON.stringify(value)));
    const contents = parts.layers ?? [Buffer.from(`layer of ${itemId} ${version}`)];
    const layers = contents.map((content) => this.put(content));
    const config = json({ architecture: parts.architecture ?? 'amd64', os: 'linux', comment: `${itemId} ${version}` });
    const itemConfig = json({ author: itemId, ...parts.itemConfig });
    const describe = (digest: Digest) => ({ mediaType: '', digest, size: 1 });
    const manifest = json({
      schemaVersion: 2,
      config: describe(config),
      aosItemConfig: describe(itemConfig),
      layers: layers.map(describe),
    });
    const indexDigest = json({ schemaVersion: 2, manifests: [describe(manifest)] });
    return { itemId, version, type: 'service', indexDigest, layers };
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const hex = (request.url ?? '').slice(1);
    const digest = `sha256:${hex}`;
    this.requests.push(`GET ${hex} ${request.headers.range ?? ''}`.trim());
    const file = this.blobs.get(digest)?.file;
    if (!file) return void response.writeHead(404).end();
    if (this.trouble.get(digest)?.(response, file)) return;
    const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const headers = { 'accept-ranges': 'bytes', etag: `"${hex}"` };
    if (from === 0) return void response.writeHead(200, { ...headers, 'content-length': file.length }).end(file);
    response.writeHead(206, {
      ...headers,
      'content-length': file.length - from,
      'content-range': `bytes ${from}-${file.length - 1}/${file.length}`,
    });
    response.end(file.subarray(from));
  }
}
