/** A hash of a stream that another core makes, so that it costs no time of what else is done to the stream. */
import { createHash, type Hash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { AosError, asAosError } from '../core/index.ts';

/** A thread of its own takes about 30 ms and 5 MB: worth it for streams that take longer to hash. */
const THREAD_FROM_BYTES = 16 * 1024 * 1024;
/** Pieces that may wait for the thread: whoever is faster than it waits, and memory stays as it is. */
const MOST_PIECES = 4;

/** Plain text, since each program is one bundle and a thread needs a beginning of its own. */
const HASH_PIECES = `
const { parentPort, workerData } = require('node:worker_threads');
const { createHash } = require('node:crypto');
let hash = createHash(workerData);
parentPort.on('message', ({ piece, sizeBytes, isNew }) => {
  if (isNew) hash = createHash(workerData);
  else if (piece) {
    hash.update(new Uint8Array(piece, 0, sizeBytes));
    parentPort.postMessage({ piece }, [piece]);
  } else parentPort.postMessage({ digest: hash.digest() });
});
`;

interface Reply {
  readonly piece?: ArrayBuffer;
  readonly digest?: Uint8Array;
}

export interface StreamHash {
  /** Takes a piece; it may be changed when the promise resolves. */
  update(piece: Uint8Array): Promise<void>;
  /** Forgets what it took. */
  restart(): void;
  /** Once, after the last piece. */
  digest(): Promise<Buffer>;
  /** Gives everything back; nothing else works afterwards. */
  end(): Promise<void>;
}

/** `sizeBytes` is what is expected to come; a stream of unknown size (0) is hashed by the caller's own core. */
export function streamHash(algorithm: string, sizeBytes: number): StreamHash {
  return sizeBytes >= THREAD_FROM_BYTES ? new BackgroundHash(algorithm) : new OwnHash(algorithm);
}

class OwnHash implements StreamHash {
  readonly #algorithm: string;
  #hash: Hash;

  constructor(algorithm: string) {
    this.#algorithm = algorithm;
    this.#hash = createHash(algorithm);
  }

  async update(piece: Uint8Array): Promise<void> {
    this.#hash.update(piece);
  }

  restart(): void {
    this.#hash = createHash(this.#algorithm);
  }

  async digest(): Promise<Buffer> {
    return this.#hash.digest();
  }

  async end(): Promise<void> {
    // Nothing is held.
  }
}

class BackgroundHash implements StreamHash {
  readonly #worker: Worker;
  readonly #free: ArrayBuffer[] = [];
  readonly #digest = Promise.withResolvers<Buffer>();
  #waiting = 0;
  #failure: AosError | undefined;
  #onReply: (() => void) | undefined;

  constructor(algorithm: string) {
    this.#worker = new Worker(HASH_PIECES, {
      eval: true,
      workerData: algorithm,
      resourceLimits: { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 1 },
    });
    // Whoever needs it awaits it; until then nobody listens.
    this.#digest.promise.catch(() => undefined);
    this.#worker.on('message', ({ piece, digest }: Reply) => {
      if (digest) this.#digest.resolve(Buffer.from(digest));
      if (piece) {
        this.#waiting -= 1;
        this.#free.push(piece);
      }
      this.#onReply?.();
    });
    this.#worker.once('error', (error) => this.#fail(asAosError(error, 'cannot hash a stream')));
    this.#worker.once('exit', () => this.#fail(new AosError('failed', 'cannot hash a stream: its thread ended')));
  }

  async update(piece: Uint8Array): Promise<void> {
    while (this.#waiting >= MOST_PIECES && !this.#failure) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onReply = resolve;
      await promise;
    }
    if (this.#failure) throw this.#failure;
    const fitting = this.#free.findIndex(({ byteLength }) => byteLength >= piece.byteLength);
    const [copy = new ArrayBuffer(piece.byteLength)] = fitting < 0 ? [] : this.#free.splice(fitting, 1);
    new Uint8Array(copy).set(piece);
    this.#waiting += 1;
    this.#worker.postMessage({ piece: copy, sizeBytes: piece.byteLength }, [copy]);
  }

  restart(): void {
    this.#worker.postMessage({ isNew: true });
  }

  digest(): Promise<Buffer> {
    this.#worker.postMessage({});
    return this.#digest.promise;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }

  #fail(error: AosError): void {
    this.#failure ??= error;
    this.#digest.reject(this.#failure);
    this.#onReply?.();
  }
}
