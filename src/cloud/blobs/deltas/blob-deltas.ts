/** Offers deltas to units that say which blobs they have (docs/decisions/0025-deltas.md). */
import { setTimeout as delay } from 'node:timers/promises';
import { asAosError, type Digest, type Logger } from '../../../core/index.ts';
import type { BlobDelta, BlobInfo } from '../../../protocol/index.ts';
import { DELTA_FORMAT } from '../../../storage/index.ts';
import type { CloudDatabase } from '../../store/cloud-database.ts';
import type { BlobRow } from '../../store/items.ts';
import { BLOCK_ALGORITHM, type BlobVault, blobInfo } from '../blob-vault.ts';
import { type DeltaFile, DeltaFiles } from './delta-files.ts';
import { makeDelta } from './make-delta.ts';
import { PlainBlob } from './plain-blob.ts';

/** Smaller blobs are fetched as fast as two files. */
const LEAST_BYTES = 64 * 1024;
/** Of an old blob a hundredth of its size is in memory. */
const MOST_BASE_BYTES = 4 * 1024 ** 3;
/** A delta must save a fifth. */
const WORTH = 0.8;
/** Deltas that wait to be made; for further ones units fetch whole blobs. */
const MOST_WAITING = 16;
/** Pairs of blobs of which is remembered that no delta is worth it. */
const MOST_REMEMBERED = 4096;
/** Units wait 10 s for the answer. */
const ANSWER_WITHIN_MS = 5000;

export interface BlobDeltasOptions {
  readonly directory: string;
  readonly limitBytes: number;
  readonly vault: Pick<BlobVault, 'read'>;
  readonly database: CloudDatabase;
  readonly logger: Logger;
  readonly answerWithinMs?: number;
}

export class BlobDeltas {
  readonly #options: BlobDeltasOptions;
  readonly files: DeltaFiles;
  readonly #stopping = new AbortController();
  readonly #making = new Map<string, Promise<DeltaFile | undefined>>();
  readonly #useless = new Set<string>();
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(options: BlobDeltasOptions, files: DeltaFiles) {
    this.#options = options;
    this.files = files;
  }

  static async open(options: BlobDeltasOptions): Promise<BlobDeltas> {
    const { directory, limitBytes, database, logger } = options;
    const isWanted = async (digest: Digest) => (await database.read(({ items }) => items.blob(digest))) !== undefined;
    return new BlobDeltas(options, await DeltaFiles.open(directory, limitBytes, isWanted, logger));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#queue;
  }

  /**
   * How a unit gets at a blob, with a delta from the first of the bases that leads there for less. One that is not there
   * is made, for as long as the unit can wait, and otherwise for the next one that asks. It never fails.
   */
  async describe(blob: BlobRow, bases: readonly BlobRow[], baseUrl: string): Promise<BlobInfo> {
    const whole = blobInfo(blob, baseUrl);
    if (blob.sizeBytes < LEAST_BYTES || this.#options.limitBytes === 0) return whole;
    const answered = new AbortController();
    const late = delay(this.#options.answerWithinMs ?? ANSWER_WITHIN_MS, undefined, { signal: answered.signal });
    try {
      // The pause is broken off as soon as there is an answer.
      const delta = await Promise.race([this.#first(blob, bases), late.catch(() => undefined)]);
      return delta ? { ...whole, deltas: [describeDelta(delta, baseUrl)] } : whole;
    } finally {
      answered.abort();
    }
  }

  async #first(blob: BlobRow, bases: readonly BlobRow[]): Promise<DeltaFile | undefined> {
    for (const base of bases) {
      const delta = this.files.find(blob.digest, base.digest) ?? (await this.#made(blob, base));
      if (delta) return delta;
    }
    return undefined;
  }

  #made(blob: BlobRow, base: BlobRow): Promise<DeltaFile | undefined> {
    const pair = `${blob.digest} ${base.digest}`;
    const running = this.#making.get(pair);
    if (running) return running;
    const isHopeless = base.digest === blob.digest || base.sizeBytes < LEAST_BYTES || base.sizeBytes > MOST_BASE_BYTES;
    if (isHopeless || this.#useless.has(pair) || this.#making.size >= MOST_WAITING) return Promise.resolve(undefined);
    const made = this.#queue.then(() => this.#make(blob, base, pair)).finally(() => this.#making.delete(pair));
    this.#queue = made;
    this.#making.set(pair, made);
    return made;
  }

  async #make(blob: BlobRow, base: BlobRow, pair: string): Promise<DeltaFile | undefined> {
    const { limitBytes, vault, logger } = this.#options;
    const { signal } = this.#stopping;
    if (signal.aborted) return undefined;
    const [digest, from] = [blob.digest, base.digest];
    const startMs = performance.now();
    try {
      const delta = await this.files.put({
        ...{ digest, base: from, contentBytes: blob.sizeBytes },
        mostBytes: Math.min(limitBytes, Math.floor(blob.fileBytes * WORTH)),
        content: makeDelta(new PlainBlob(base, vault), new PlainBlob(blob, vault).all(), signal),
      });
      if (!delta) this.#remember(pair);
      const tookMs = Math.round(performance.now() - startMs);
      const facts = { digest, from, wholeBytes: blob.fileBytes, deltaBytes: delta?.fileBytes, tookMs };
      logger.info(facts, delta ? 'made a delta' : 'a delta would not be worth it');
      return delta;
    } catch (error) {
      if (signal.aborted) return undefined;
      this.#remember(pair);
      logger.warn(
        { digest, from, error: asAosError(error).message },
        'a delta could not be made; units fetch all of it',
      );
      return undefined;
    }
  }

  #remember(pair: string): void {
    const [oldest] = this.#useless;
    if (oldest !== undefined && this.#useless.size >= MOST_REMEMBERED) this.#useless.delete(oldest);
    this.#useless.add(pair);
  }
}

function describeDelta(delta: DeltaFile, baseUrl: string): BlobDelta {
  return {
    base: delta.base,
    format: DELTA_FORMAT,
    contentSize: delta.contentBytes,
    urls: [`${baseUrl}/${delta.file}`],
    sha256: delta.fileSha3,
    size: delta.fileBytes,
    decryptInfo: { blockAlg: BLOCK_ALGORITHM, blockIv: delta.iv, blockKey: delta.key },
  };
}
