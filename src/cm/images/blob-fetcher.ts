/** Makes blobs be on the unit: found, downloaded, decrypted, verified, stored (spec/cm.md 3.6). */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AosError,
  asAosError,
  Backoff,
  type Clock,
  type Digest,
  isAosError,
  type Logger,
  parseDigest,
  throwIfCanceled,
} from '../../core/index.ts';
import type { BlobInfo } from '../../protocol/index.ts';
import {
  type BlobStore,
  checkSignature,
  DecryptingIntake,
  type Downloader,
  discardDownload,
  installBlob,
  installDecrypted,
  parseChecksum,
  type SignatureTrust,
} from '../../storage/index.ts';
import { IMAGES } from '../numbers.ts';
import { decryptInfoOf, signInfoOf } from './blob-info.ts';
import type { BlobSource } from './blob-source.ts';
import { DeltaFetcher, deltaFileOf } from './delta-fetcher.ts';
import { type DownloadReport, downloadReporter } from './download-report.ts';
import { Limiter } from './limiter.ts';
import type { Reservation, SpaceKeeper } from './space.ts';

export interface BlobFetcherOptions {
  readonly store: BlobStore;
  readonly source: BlobSource;
  readonly downloader: Downloader;
  /** Where downloads grow; on the file system of the store. */
  readonly downloadDirectory: string;
  readonly space: SpaceKeeper;
  /** Certificate authorities beside those of the system, PEM. */
  readonly caPem: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
  readonly onProgress: (report: DownloadReport) => void;
  /** A blob turned out to be damaged and was removed. */
  readonly onDamaged: (digest: Digest) => void;
}

interface DownloadParts {
  readonly digest: Digest;
  readonly blob: BlobInfo;
  readonly file: string;
  readonly intake: DecryptingIntake | undefined;
  readonly signal: AbortSignal;
  /** The server says how large the whole is. */
  readonly admit: (totalBytes: number) => Promise<void>;
  readonly onBytes: (downloadedBytes: number) => void;
}

/** Blobs that a download may begin with; asked when there is one. */
export type FindBases = () => Promise<readonly Digest[]>;

const NO_SPACE = 'not enough space';

interface FileMark {
  readonly mtimeMs: number;
  readonly size: number;
  readonly ino: number;
}

export class BlobFetcher {
  readonly #options: BlobFetcherOptions;
  readonly #limiter = new Limiter(IMAGES.parallelDownloads);
  readonly #verified = new Map<Digest, FileMark>();
  readonly #running = new Map<Digest, Promise<void>>();
  /** Asked for since nothing was fetched last: wanted, also while it is not known yet what names it. */
  readonly #wanted = new Set<Digest>();
  readonly #removing = new Map<Digest, Promise<void>>();
  readonly #deltas: DeltaFetcher;

  constructor(options: BlobFetcherOptions) {
    this.#options = options;
    this.#deltas = new DeltaFetcher({ ...options, isWhole: (digest, signal) => this.isWhole(digest, signal) });
  }

  /**
   * The blob is there and whole on return. What the network or the cloud keeps from coming is waited for; what
   * another try would not cure is thrown. A blob that several items name is fetched once.
   */
  ensure(digest: Digest, trust: SignatureTrust, signal: AbortSignal, findBases?: FindBases): Promise<void> {
    this.#wanted.add(digest);
    const running = this.#running.get(digest);
    if (running) return running;
    const work = this.#ensure(digest, trust, signal, findBases).finally(() => this.#running.delete(digest));
    this.#running.set(digest, work);
    return work;
  }

  /** Resolves when nothing is fetched any more. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running.values());
    this.#wanted.clear();
  }

  /** Removes a blob that nothing names; false when it is wanted after all, for an item that is just being fetched. */
  async remove(digest: Digest): Promise<boolean> {
    if (this.#wanted.has(digest)) return false;
    this.forget(digest);
    const removal = this.#options.store.remove(digest).finally(() => this.#removing.delete(digest));
    this.#removing.set(digest, removal);
    await removal;
    return true;
  }

  async #ensure(digest: Digest, trust: SignatureTrust, signal: AbortSignal, findBases?: FindBases): Promise<void> {
    // Whether it could be removed is a matter of who removes it.
    await this.#removing.get(digest)?.catch(() => undefined);
    if (await this.#limiter.run(() => this.isWhole(digest, signal))) return;
    // Whatever is wrong with what is there already: the blob can be fetched whole.
    const bases = (await findBases?.().catch(() => [])) ?? [];
    await this.#fetch(digest, trust, signal, bases);
  }

  /** Whether the content is that of the digest; hashed again only when the file is not the one hashed before. */
  async isWhole(digest: Digest, signal: AbortSignal): Promise<boolean> {
    throwIfCanceled(signal);
    const { store } = this.#options;
    const mark = await markOf(store.path(digest));
    if (!mark) return false;
    const known = this.#verified.get(digest);
    if (known && known.mtimeMs === mark.mtimeMs && known.size === mark.size && known.ino === mark.ino) return true;
    return this.hashAgain(digest, signal);
  }

  /** As `isWhole`, always reading all of it: bits rot without a change of the file's times. */
  async hashAgain(digest: Digest, signal: AbortSignal): Promise<boolean> {
    const { store } = this.#options;
    const mark = await markOf(store.path(digest));
    if (!mark) return false;
    if (await store.verify(digest, signal)) {
      this.#verified.set(digest, mark);
      return true;
    }
    this.forget(digest);
    this.#options.onDamaged(digest);
    return false;
  }

  forget(digest: Digest): void {
    this.#verified.delete(digest);
  }

  async #fetch(digest: Digest, trust: SignatureTrust, signal: AbortSignal, bases: readonly Digest[]): Promise<void> {
    const { source, store, clock, logger } = this.#options;
    const backoff = new Backoff({
      firstMs: IMAGES.downloadRetryFirstMs,
      maxMs: IMAGES.downloadRetryMaxMs,
      jitter: IMAGES.downloadRetryJitter,
    });
    for (let mismatches = 0; ; ) {
      // A blob that waits for its next try holds up no other.
      const outcome = await this.#limiter.run(async () => {
        const blob = await source.locate(digest, signal, bases);
        return this.#fetchOnce(digest, blob, trust, signal, bases);
      });
      if (outcome === 'stored') {
        const mark = await markOf(store.path(digest));
        if (mark) this.#verified.set(digest, mark);
        return;
      }
      if ('mismatch' in outcome) {
        mismatches += 1;
        if (mismatches >= IMAGES.mismatchesBeforeFailure) throw outcome.mismatch;
      }
      const error = 'mismatch' in outcome ? outcome.mismatch : outcome.interrupted;
      logger.info({ digest, error: error.message, mismatches }, 'a blob could not be downloaded; it is tried again');
      await clock.sleep(backoff.next(), signal);
    }
  }

  async #fetchOnce(
    digest: Digest,
    blob: BlobInfo,
    trust: SignatureTrust,
    signal: AbortSignal,
    bases: readonly Digest[],
  ): Promise<'stored' | { readonly mismatch: AosError } | { readonly interrupted: AosError }> {
    const { downloadDirectory, store, space, logger } = this.#options;
    const file = join(downloadDirectory, parseDigest(digest).hex);
    const partBytes = (await markOf(file))?.size ?? 0;
    if (await this.#deltas.fetch({ digest, blob, bases, file, partBytes, trust, signal })) return 'stored';
    const checksum = parseChecksum(blob.sha256);
    const signature = blob.signInfo && { trust, info: signInfoOf(blob.signInfo) };
    const intake =
      blob.decryptInfo &&
      new DecryptingIntake({
        decryptInfo: decryptInfoOf(blob.decryptInfo),
        sizeBytes: blob.size,
        checksum,
        ...(signature && { beginSignature: () => checkSignature(signature.info, trust) }),
      });
    try {
      let sizeBytes = blob.size;
      let room: Reservation = await space.reserve(downloadDirectory, Math.max(0, sizeBytes - partBytes));
      try {
        const onBytes = (downloaded: number) => room.shrinkTo(sizeBytes - downloaded);
        // What the cloud tells of the size is good for a reservation; whether it is the blob, the checksum tells.
        const admit = async (totalBytes: number) => {
          if (totalBytes === sizeBytes) return;
          logger.info({ digest, toldBytes: sizeBytes, totalBytes }, 'a blob has another size than the cloud told');
          sizeBytes = totalBytes;
          room.giveBack();
          room = await space.reserve(downloadDirectory, Math.max(0, totalBytes - partBytes));
        };
        const failure = await this.#download({ digest, blob, file, intake, signal, admit, onBytes });
        if (failure) return failure;
        const request = { store, digest, downloadedFile: file, signal };
        const installed = await (intake
          ? installDecrypted(request, intake)
          : installBlob({ ...request, checksum, signature }));
        if (!installed.stored) return { mismatch: installed.mismatch };
        await discardDownload(deltaFileOf(file));
        return 'stored';
      } catch (error) {
        if (!isAosError(error, 'noMemory')) throw error;
        // The disk is full to the brim: what has come of a blob that cannot come whole gives its room to the others.
        await discardDownload(file);
        throw notEnoughSpace(error);
      } finally {
        room.giveBack();
      }
    } finally {
      await intake?.end();
    }
  }

  /** Undefined when the file is there; else why another try may help. */
  async #download({
    digest,
    blob,
    file,
    intake,
    signal,
    admit,
    onBytes,
  }: DownloadParts): Promise<{ readonly mismatch: AosError } | { readonly interrupted: AosError } | undefined> {
    const report = downloadReporter({ ...this.#options, digest, sizeBytes: blob.size });
    try {
      await this.#options.downloader.download({
        urls: blob.urls,
        toFile: file,
        // A part that was written as it came does not go on as plain content.
        contentId: `${digest} ${blob.sha256}${intake ? ' plain' : ''}`,
        intake,
        ...(blob.size > 0 && { maxSizeBytes: blob.size }),
        admit,
        caPem: this.#options.caPem,
        signal,
        onProgress: (progress) => {
          onBytes(progress.downloadedBytes);
          report(progress);
        },
      });
      return undefined;
    } catch (error) {
      throwIfCanceled(signal);
      const aos = asAosError(error);
      if (aos.code === 'noMemory') throw aos;
      // A size that does not fit is a download that does not fit what the cloud said of it.
      return isAosError(error, 'invalidChecksum') ? { mismatch: aos } : { interrupted: aos };
    }
  }
}

/** A disk that fills up on the way says the same as one that is full before; where, comes behind: sent texts are short. */
function notEnoughSpace(error: AosError): AosError {
  const { exitCode, message } = error;
  if (message.startsWith(NO_SPACE)) return error;
  return new AosError('noMemory', `${NO_SPACE}: ${message}`, { exitCode });
}

async function markOf(path: string): Promise<FileMark | undefined> {
  try {
    const { mtimeMs, size, ino } = await stat(path);
    return { mtimeMs, size, ino };
  } catch (error) {
    const aos = asAosError(error);
    if (aos.code === 'notFound') return undefined;
    throw aos;
  }
}
