/**
 * Takes bundles (spec/beyond.md P-12, docs/decisions/0014-bundles.md): checked whole beside what is in force, then accepted in
 * one write. Its blobs stay until the update is over, and are found before the cloud is asked for them.
 */
import type { X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  AosError,
  asAosError,
  type Clock,
  type Digest,
  faultPoint,
  type Logger,
  parseDigest,
} from '../../core/index.ts';
import type { BundleReport } from '../../daemon/index.ts';
import type { BlobInfo, BundleBlob, DesiredStatus } from '../../protocol/index.ts';
import { ensureDirectory, syncDirectory, writeFileAtomic } from '../../storage/index.ts';
import type { BlobSource } from '../images/index.ts';
import type { Desired, Origin, UpdateDecision, UpdateProgress } from '../updates/index.ts';
import { type BundleHead, type HeadBytes, openHead } from './open-head.ts';
import { type BlobPlace, blobFileOf, receiveBundle } from './receive-blobs.ts';

const PARTIAL = '.part-';
/** A bundle that was accepted was judged by the clock then; the clock may have been set back since. */
const WHATEVER_TIME = new Date('9999-01-01T00:00:00Z');

/** What the desk asks the update manager. */
export interface BundleUpdates {
  readonly desired: Desired | undefined;
  readonly state: { readonly state: UpdateProgress['state'] };
  consider(message: DesiredStatus): { readonly decision: UpdateDecision };
  whyOld(bundle: Extract<Origin, { source: 'bundle' }>): string | undefined;
  accept(message: DesiredStatus, refused: readonly [], origin: Origin): void;
  watch(listener: (progress: UpdateProgress) => void): () => void;
}

export interface BundleDeskOptions {
  readonly directory: string;
  readonly systemId: string;
  readonly roots: readonly X509Certificate[];
  readonly updates: () => BundleUpdates;
  /** Keeps room on the disk; the answer gives it back. Throws `noMemory`. */
  readonly reserve: (directory: string, bytes: number) => Promise<() => void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Staged {
  readonly bundle: Digest;
  readonly blobs: ReadonlyMap<Digest, BundleBlob>;
}

export class BundleDesk {
  readonly #options: BundleDeskOptions;
  #isBusy = false;
  #staged: Staged | undefined;
  #sweeping: Promise<void> = Promise.resolve();
  /** An update that goes on must not ask the cloud before it is known what lies here. */
  readonly #started = Promise.withResolvers<void>();

  constructor(options: BundleDeskOptions) {
    this.#options = options;
  }

  /** Takes up what an update that was interrupted still needs; removes what interrupted or finished ones have left. */
  async start(): Promise<void> {
    const { directory, updates } = this.#options;
    await ensureDirectory(directory, 0o700);
    const { origin } = updates().desired ?? {};
    const isNeeded = origin?.source === 'bundle' && updates().state.state !== 'none';
    const kept = isNeeded ? parseDigest(origin.bundle).hex : undefined;
    await this.#removeAllBut(kept);
    if (isNeeded) await this.#takeUp(origin.bundle);
    this.#started.resolve();
    updates().watch(({ state }) => {
      if (state === 'none') this.#sweep();
    });
  }

  /** What comes of the head alone; nothing is changed. Throws what is wrong with the bundle. */
  open(bytes: HeadBytes): BundleHead {
    const { systemId, roots, clock } = this.#options;
    const head = openHead(bytes, { systemId, roots, now: clock.now() });
    this.#refuseOld(head);
    return head;
  }

  /**
   * Takes a bundle. Nothing has changed when this throws; on return the desired status of the bundle is accepted, and
   * the update goes its way as one of the cloud.
   */
  async apply(source: AsyncIterable<Buffer>, signal: AbortSignal): Promise<BundleReport> {
    if (this.#isBusy) throw new AosError('wrongState', 'another bundle is being read; wait for it');
    this.#isBusy = true;
    try {
      await this.#sweeping;
      return await this.#apply(source, signal);
    } finally {
      this.#isBusy = false;
      this.#sweep();
    }
  }

  /** Blobs of the bundle that is being carried out; all others are for `other`. */
  source(other: BlobSource): BlobSource {
    return {
      locate: async (digest, signal, bases): Promise<BlobInfo> => {
        await this.#started.promise;
        const staged = this.#staged;
        const blob = staged?.blobs.get(digest.toLowerCase());
        if (!staged || !blob) return other.locate(digest, signal, bases);
        const path = join(this.#directoryOf(staged.bundle), 'blobs', blobFileOf(blob.digest));
        return { ...blob, urls: [pathToFileURL(path).href] };
      },
    };
  }

  async #apply(source: AsyncIterable<Buffer>, signal: AbortSignal): Promise<BundleReport> {
    const { directory } = this.#options;
    let work: { readonly partial: string; readonly head: BundleHead; readonly bytes: HeadBytes } | undefined;
    let simple: BundleReport | undefined;
    let giveBack: (() => void) | undefined;
    try {
      await receiveBundle({
        source,
        signal,
        onHead: async (bytes): Promise<BlobPlace | undefined> => {
          const head = this.open(bytes);
          if (!this.#needsBlobs(head)) {
            simple = this.#accept(head, 'as it is');
            return undefined;
          }
          const bytesNeeded = head.blobs.reduce((sum, { size }) => sum + size, 0);
          giveBack = await this.#reserve(bytesNeeded);
          const partial = await mkdtemp(join(directory, PARTIAL));
          work = { partial, head, bytes };
          await ensureDirectory(join(partial, 'blobs'), 0o700);
          return { head, directory: join(partial, 'blobs') };
        },
      });
      if (simple) return simple;
      const { partial, head, bytes } = work!;
      await this.#publish(partial, head, bytes);
      return this.#accept(head, 'accepted');
    } catch (error) {
      if (work) await rm(work.partial, { recursive: true, force: true });
      throw asAosError(error);
    } finally {
      giveBack?.();
    }
  }

  /** False when the unit is as the bundle says. One that waits for the cloud with the same wish gets what it waits for. */
  #needsBlobs({ digest, desired }: BundleHead): boolean {
    const updates = this.#options.updates();
    if (updates.consider(desired).decision.do === 'start') return true;
    return updates.state.state === 'downloading' && this.#staged?.bundle !== digest;
  }

  async #reserve(bytes: number): Promise<() => void> {
    const { directory, reserve } = this.#options;
    try {
      return await reserve(directory, bytes);
    } catch (error) {
      throw new AosError('noMemory', `the bundle needs ${bytes} bytes in ${directory}, which has not so much room`, {
        cause: error,
      });
    }
  }

  /** From here the files are found under the name of the bundle, also after a power cut. */
  async #publish(partial: string, head: BundleHead, { manifest, signature }: HeadBytes): Promise<void> {
    const { directory } = this.#options;
    await writeFileAtomic(join(partial, 'bundle.json'), manifest, { mode: 0o600 });
    await writeFileAtomic(join(partial, 'signature.json'), signature, { mode: 0o600 });
    await syncDirectory(join(partial, 'blobs'));
    await syncDirectory(partial);
    faultPoint('cm.bundle.received');
    const final = this.#directoryOf(head.digest);
    await rm(final, { recursive: true, force: true });
    await rename(partial, final);
    await syncDirectory(directory);
    faultPoint('cm.bundle.renamed');
  }

  /** Judged again: the cloud may have said something while the blobs came. */
  #accept(head: BundleHead, outcome: BundleReport['outcome']): BundleReport {
    const { updates, logger } = this.#options;
    const { digest, createdAt, desired } = head;
    this.#refuseOld(head);
    const report: BundleReport = {
      bundle: digest,
      createdAt,
      outcome,
      items: (desired.items ?? []).map(({ item, version }) => ({ itemId: item.id, version })),
    };
    const { origin } = updates().desired ?? {};
    if (outcome === 'as it is' && origin?.source === 'bundle' && origin.bundle === digest) return report;
    const former = this.#staged;
    // The update asks for blobs as soon as it is accepted.
    if (outcome === 'accepted') this.#staged = stagedOf(head);
    try {
      updates().accept(desired, [], { source: 'bundle', createdAt, bundle: digest });
    } catch (error) {
      this.#staged = former;
      throw error;
    }
    logger.info({ bundle: digest, createdAt, outcome }, 'a bundle is applied');
    return report;
  }

  #refuseOld({ digest, createdAt }: BundleHead): void {
    const because = this.#options.updates().whyOld({ source: 'bundle', createdAt, bundle: digest });
    if (because) throw new AosError('wrongState', `the bundle is too old: ${because}; make a new one`);
  }

  async #takeUp(bundle: Digest): Promise<void> {
    const { logger } = this.#options;
    const directory = this.#directoryOf(bundle);
    try {
      const manifest = await readFile(join(directory, 'bundle.json'));
      const signature = await readFile(join(directory, 'signature.json'));
      const { systemId, roots } = this.#options;
      this.#staged = stagedOf(openHead({ manifest, signature }, { systemId, roots, now: WHATEVER_TIME }));
    } catch (error) {
      logger.warn(
        { bundle, error: asAosError(error).message },
        'the blobs of a bundle are gone; the cloud is asked for them',
      );
    }
  }

  /** Removes what no update needs any more; what is just being received is left alone. */
  #sweep(): void {
    if (this.#isBusy) return;
    if (this.#options.updates().state.state === 'none') this.#staged = undefined;
    const kept = this.#staged && parseDigest(this.#staged.bundle).hex;
    this.#sweeping = this.#removeAllBut(kept).catch((error) => {
      this.#options.logger.warn({ error: asAosError(error).message }, 'what a bundle has left could not be removed');
    });
  }

  async #removeAllBut(kept: string | undefined): Promise<void> {
    const { directory } = this.#options;
    for (const name of await readdir(directory)) {
      if (name !== kept) await rm(join(directory, name), { recursive: true, force: true });
    }
  }

  #directoryOf(bundle: Digest): string {
    return join(this.#options.directory, parseDigest(bundle).hex);
  }
}

const stagedOf = ({ digest, blobs }: BundleHead): Staged => ({
  bundle: digest,
  blobs: new Map(blobs.map((blob) => [blob.digest, blob])),
});
