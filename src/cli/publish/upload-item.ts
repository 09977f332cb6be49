/** Upload of an item: its blobs, then the item itself, so that nobody sees it before it is whole. */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { AosError, type Digest, throwIfCanceled } from '../../core/index.ts';
import type { Descriptor } from '../../oci/index.ts';
import type { Body } from '../cloud-client.ts';
import type { DeploymentDefaults } from './author/author-item.ts';
import type { Document, ItemType } from './repack-image.ts';

export interface PublishingCloud {
  exists(path: string): Promise<boolean>;
  upload(path: string, body: Body): Promise<void>;
  send<T>(method: 'PUT', path: string, value: unknown): Promise<T>;
}

export interface Upload {
  readonly id: string;
  readonly version: string;
  readonly type: ItemType;
  readonly title?: string | undefined;
  readonly owner?: string | undefined;
  /** What a deployment gets that says nothing else. */
  readonly defaults?: DeploymentDefaults | undefined;
  readonly index: Document;
  readonly documents: readonly Document[];
  readonly layers: readonly Descriptor[];
  /** The content of a layer. */
  readonly read: (digest: Digest) => Readable;
  /** Ends the upload; what was sent stays at the cloud. */
  readonly signal: AbortSignal;
  /** Told what is done, in bytes. */
  readonly progress: (done: UploadProgress) => void;
}

export interface UploadProgress {
  readonly digest: Digest;
  readonly sentBytes: number;
  readonly totalBytes: number;
  readonly state: 'present' | 'sending' | 'sent';
}

const blobPath = (digest: Digest) => `/api/blobs/${digest}`;
const OCTETS = 'application/octet-stream';

/** Answers how many blobs were sent; the others were there already. */
export async function uploadItem(cloud: PublishingCloud, upload: Upload): Promise<number> {
  const { id, version, type, title, owner, index } = upload;
  let sent = 0;
  const layers = new Map(upload.layers.map((layer) => [layer.digest, layer]));
  for (const layer of layers.values()) {
    if (await uploadLayer(cloud, upload, layer)) sent += 1;
  }
  const documents = new Map([...upload.documents, index].map((document) => [document.descriptor.digest, document]));
  for (const [digest, { text, descriptor }] of documents) {
    throwIfCanceled(upload.signal);
    if (await cloud.exists(blobPath(digest))) continue;
    await cloud.upload(blobPath(digest), { contentType: OCTETS, content: text, sizeBytes: descriptor.size });
    sent += 1;
  }
  await cloud.send('PUT', `/api/items/${encodeURIComponent(id)}/${encodeURIComponent(version)}`, {
    ...{ type, indexDigest: index.descriptor.digest },
    ...(title !== undefined && { title }),
    ...(owner !== undefined && { owner }),
    ...(upload.defaults && { defaults: upload.defaults }),
  });
  return sent;
}

async function uploadLayer(cloud: PublishingCloud, upload: Upload, layer: Descriptor): Promise<boolean> {
  const { digest, size: totalBytes } = layer;
  const tell = (state: UploadProgress['state'], sentBytes: number) =>
    upload.progress({ digest, state, sentBytes, totalBytes });
  if (await cloud.exists(blobPath(digest))) {
    tell('present', totalBytes);
    return false;
  }
  const hash = createHash('sha256');
  const content = Readable.from(
    (async function* () {
      let sentBytes = 0;
      for await (const chunk of upload.read(digest) as AsyncIterable<Buffer>) {
        throwIfCanceled(upload.signal);
        hash.update(chunk);
        sentBytes += chunk.length;
        yield chunk;
        tell('sending', sentBytes);
      }
      const found = `sha256:${hash.digest('hex')}`;
      if (found !== digest) {
        throw new AosError('invalidArgument', `the content of layer ${digest} is ${found}; the image is damaged`);
      }
    })(),
    { objectMode: false },
  );
  await cloud.upload(blobPath(digest), { contentType: OCTETS, content });
  tell('sent', totalBytes);
  return true;
}
