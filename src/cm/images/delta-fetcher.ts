/**
 * Makes a blob of one that is on the unit and a delta (docs/decisions/0025-deltas.md). It never fails: whatever is wrong
 * with a delta, the blob can be fetched whole.
 */
import { rm, truncate } from 'node:fs/promises';
import { asAosError, type Clock, type Digest, faultPoint, type Logger, throwIfCanceled } from '../../core/index.ts';
import type { BlobDelta, BlobInfo } from '../../protocol/index.ts';
import {
  applyDelta,
  type BlobStore,
  checkFile,
  checkSignature,
  DELTA_FORMAT,
  DecryptingIntake,
  type Downloader,
  discardDownload,
  parseChecksum,
  type SignatureTrust,
  temporaryName,
} from '../../storage/index.ts';
import { decryptInfoOf, signInfoOf } from './blob-info.ts';
import { type DownloadReport, downloadReporter } from './download-report.ts';
import type { SpaceKeeper } from './space.ts';

export interface DeltaFetcherOptions {
  readonly store: BlobStore;
  readonly downloader: Downloader;
  readonly space: SpaceKeeper;
  readonly caPem: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onProgress: (report: DownloadReport) => void;
  /** Whether the blob is on the unit as its digest says. */
  readonly isWhole: (digest: Digest, signal: AbortSignal) => Promise<boolean>;
}

export interface DeltaWish {
  readonly digest: Digest;
  readonly blob: BlobInfo;
  /** What may be begun with. */
  readonly bases: readonly Digest[];
  /** Where the whole blob would grow, and how much of it is there already. */
  readonly file: string;
  readonly partBytes: number;
  readonly trust: SignatureTrust;
  readonly signal: AbortSignal;
}

/** Where the delta of a blob grows, whose own download grows in `file`. */
export const deltaFileOf = (file: string): string => `${file}.delta`;

export class DeltaFetcher {
  readonly #options: DeltaFetcherOptions;

  constructor(options: DeltaFetcherOptions) {
    this.#options = options;
  }

  /** Whether the blob is in the store now. Throws `canceled`, nothing else. */
  async fetch(wish: DeltaWish): Promise<boolean> {
    const { logger } = this.#options;
    const { digest, blob, file, signal } = wish;
    const delta = chooseDelta(wish);
    if (!delta) return false;
    const { base, size } = delta;
    try {
      if (!(await this.#options.isWhole(base, signal))) return false;
      await this.#make(delta, wish);
      logger.info({ digest, base, deltaBytes: size, wholeBytes: blob.size }, 'a blob was made by a delta');
      return true;
    } catch (error) {
      throwIfCanceled(signal);
      const { code, message } = asAosError(error);
      // What broke off goes on the next time, if a whole download does not come about either.
      if (code !== 'runtime' && code !== 'timeout') await discardDownload(deltaFileOf(file));
      logger.warn({ digest, base, error: message }, 'a delta did not lead to a blob, which is fetched whole');
      return false;
    }
  }

  async #make(delta: BlobDelta, wish: DeltaWish): Promise<void> {
    const { store, space } = this.#options;
    const { digest, blob, file, trust, signal } = wish;
    const made = temporaryName(file);
    const room = await space.reserve(store.root, delta.size + delta.contentSize);
    try {
      const signature = blob.signInfo && checkSignature(signInfoOf(blob.signInfo), trust);
      const deltaFile = await this.#download(delta, wish);
      faultPoint('cm.images.delta.fetched');
      const sha256 = await applyDelta({
        ...{ baseFile: store.path(delta.base), deltaFile, toFile: made, sizeBytes: delta.contentSize, signal },
        observe: signature?.update,
      });
      // Before the blob is there: whoever finds it there looks for nothing that is left of its coming.
      await discardDownload(deltaFile);
      faultPoint('cm.images.delta.made');
      await store.adoptHashed(digest, made, sha256, { signal, beforeCommit: signature?.verify });
    } finally {
      await rm(made, { force: true });
      room.giveBack();
    }
  }

  /** The delta in plain, as it was sent. */
  async #download(delta: BlobDelta, { digest, file, signal }: DeltaWish): Promise<string> {
    const { downloader, caPem } = this.#options;
    const toFile = deltaFileOf(file);
    const checksum = parseChecksum(delta.sha256);
    const intake =
      delta.decryptInfo &&
      new DecryptingIntake({ decryptInfo: decryptInfoOf(delta.decryptInfo), sizeBytes: delta.size, checksum });
    try {
      await downloader.download({
        ...{ urls: delta.urls, toFile, intake, expectedSizeBytes: delta.size, caPem, signal },
        contentId: `${digest} ${delta.sha256}${intake ? ' plain' : ''}`,
        onProgress: downloadReporter({ ...this.#options, digest, sizeBytes: delta.size }),
      });
      if (intake) await truncate(toFile, (await intake.finish(toFile, signal)).sizeBytes);
      else await checkFile(toFile, checksum, signal);
      return toFile;
    } finally {
      await intake?.end();
    }
  }
}

/** The first one that begins with what is there, and that is less than what is still missing of the whole. */
function chooseDelta({ blob, bases, partBytes }: DeltaWish): BlobDelta | undefined {
  const known = new Set(bases.map((digest) => digest.toLowerCase()));
  return blob.deltas?.find(
    ({ base, format, size, contentSize }) =>
      format === DELTA_FORMAT &&
      known.has(base.toLowerCase()) &&
      size > 0 &&
      size < blob.size - partBytes &&
      contentSize <= blob.size,
  );
}
