/** Brings the parts of an item to this node: blobs as they are, layers unpacked (spec/sm.md 3.3). */
import { join } from 'node:path';
import { AosError, asAosError, Backoff, type Clock, type Digest, faultPoint, parseDigest } from '../../core/index.ts';
import { type Descriptor, isServiceLayer, MAX_DOCUMENT_BYTES } from '../../oci/index.ts';
import { type BlobStore, type Downloader, discardDownload, installBlob } from '../../storage/index.ts';
import { estimateUnpackedBytes, type LayerStore } from './layer-store.ts';
import { KeyedLock } from './locks.ts';
import { reachableUrl } from './loopback.ts';
import type { Space } from './space.ts';

/** Complete downloads with a wrong content before the item fails (spec/decisions.md C-02). */
const MAX_MISMATCHES = 3;

export interface FetcherOptions {
  readonly blobs: BlobStore;
  readonly layers: LayerStore;
  readonly space: Space;
  readonly downloader: Downloader;
  /** On the file system of the stores. */
  readonly downloadDir: string;
  /** Asks the CM where blobs are. */
  readonly blobUrls: (digests: readonly Digest[], signal: AbortSignal) => Promise<readonly string[]>;
  /** Host of the CM's address; see `reachableUrl`. */
  readonly cmHost: string;
  readonly clock: Clock;
}

export class PartFetcher {
  readonly #options: FetcherOptions;
  readonly #locks = new KeyedLock();

  constructor(options: FetcherOptions) {
    this.#options = options;
  }

  /** Runs while nobody else fetches or removes that digest. */
  exclusively<T>(digest: Digest, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return this.#locks.run(digest, signal, work);
  }

  /** The text of a document, fetched if it is not here or damaged. */
  async document(descriptor: Pick<Descriptor, 'digest' | 'size'>, what: string, signal: AbortSignal): Promise<string> {
    const { blobs } = this.#options;
    return this.exclusively(descriptor.digest, signal, async () => {
      const here = await blobs.readText(descriptor.digest, MAX_DOCUMENT_BYTES).catch((error: unknown) => {
        const { code } = asAosError(error);
        if (code === 'notFound' || code === 'invalidChecksum' || code === 'outOfRange') return undefined;
        throw error;
      });
      if (here !== undefined) return here;
      await blobs.remove(descriptor.digest);
      await this.#fetchBlob({ ...descriptor, maxBytes: MAX_DOCUMENT_BYTES }, what, signal);
      return blobs.readText(descriptor.digest, MAX_DOCUMENT_BYTES);
    });
  }

  /** A file of a component, fetched if it is not here or not of its size. */
  async file(descriptor: Descriptor, what: string, signal: AbortSignal): Promise<void> {
    const { blobs } = this.#options;
    await this.exclusively(descriptor.digest, signal, async () => {
      const sizeBytes = await blobs.size(descriptor.digest);
      if (sizeBytes !== undefined && (descriptor.size === 0 || sizeBytes === descriptor.size)) return;
      await blobs.remove(descriptor.digest);
      await this.#fetchBlob(descriptor, what, signal);
    });
  }

  /** An unpacked layer. Throws `notSupported` for a media type that no node unpacks. */
  async layer(descriptor: Descriptor, what: string, signal: AbortSignal): Promise<void> {
    const { mediaType, digest } = descriptor;
    if (!isServiceLayer(mediaType)) {
      throw new AosError('notSupported', `${what}: media type "${mediaType}" is no layer of a service`);
    }
    await this.exclusively(digest, signal, async () => {
      if ((await this.#options.layers.find(digest)) === undefined) await this.#fetchLayer(descriptor, what, signal);
    });
  }

  async #fetchBlob(
    descriptor: Pick<Descriptor, 'digest' | 'size'> & { readonly maxBytes?: number },
    what: string,
    signal: AbortSignal,
  ): Promise<void> {
    const { blobs, space } = this.#options;
    const { digest } = descriptor;
    const reservation = await space.reserve(descriptor.size);
    try {
      await this.#untilRight(descriptor.digest, signal, async () => {
        const downloadedFile = await this.#download(descriptor, signal, (bytes) => reservation.used(bytes));
        faultPoint('sm.images.downloaded');
        const outcome = await installBlob({ store: blobs, digest, downloadedFile, signal });
        if (!outcome.stored) throw outcome.mismatch;
      });
    } catch (error) {
      throw asAosError(error, what);
    } finally {
      reservation.release();
    }
  }

  async #fetchLayer(descriptor: Descriptor, what: string, signal: AbortSignal): Promise<void> {
    const { layers, space } = this.#options;
    const reservation = await space.reserve(descriptor.size);
    try {
      await this.#untilRight(descriptor.digest, signal, async () => {
        const file = await this.#download(descriptor, signal, (bytes) => reservation.used(bytes));
        faultPoint('sm.images.downloaded');
        await reservation.resize(await estimateUnpackedBytes(file));
        await layers.install(descriptor.digest, file, { signal, onBytes: (bytes) => reservation.used(bytes) });
        await discardDownload(file);
      });
    } catch (error) {
      throw asAosError(error, what);
    } finally {
      reservation.release();
    }
  }

  /**
   * A content that does not fit its digest is fetched again, a few times. What failed for good leaves no download, what
   * may still succeed leaves what has arrived.
   */
  async #untilRight(digest: Digest, signal: AbortSignal, fetch: () => Promise<void>): Promise<void> {
    const backoff = new Backoff({ firstMs: 1000, maxMs: 5000 });
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await fetch();
      } catch (error) {
        const aos = asAosError(error);
        if (isFinal(aos)) await discardDownload(this.#downloadPath(digest));
        if (aos.code !== 'invalidChecksum' || attempt >= MAX_MISMATCHES) throw error;
        await this.#options.clock.sleep(backoff.next(), signal);
      }
    }
  }

  /** Answers the path of the downloaded file. */
  async #download(
    descriptor: Pick<Descriptor, 'digest' | 'size'> & { readonly maxBytes?: number },
    signal: AbortSignal,
    onBytes: (bytes: number) => void,
  ): Promise<string> {
    const { blobUrls, downloader, cmHost } = this.#options;
    const { digest, size, maxBytes } = descriptor;
    const urls = (await blobUrls([digest], signal)).filter((url) => url !== '');
    if (urls.length === 0) {
      throw new AosError('notFound', `${digest} is not on this node and the CM offers no address for it`);
    }
    const toFile = this.#downloadPath(digest);
    await downloader.download({
      urls,
      toFile,
      contentId: digest,
      ...(size > 0 && { expectedSizeBytes: size }),
      maxSizeBytes: maxBytes,
      signal,
      rewriteUrl: (url) => reachableUrl(url, cmHost),
      onProgress: ({ downloadedBytes }) => onBytes(downloadedBytes),
    });
    return toFile;
  }

  #downloadPath(digest: Digest): string {
    return join(this.#options.downloadDir, parseDigest(digest).hex);
  }
}

/** The same file would fail in the same way; only a lack of space or of time may pass. */
function isFinal(error: AosError): boolean {
  return ['invalidChecksum', 'invalidArgument', 'notSupported'].includes(error.code);
}
