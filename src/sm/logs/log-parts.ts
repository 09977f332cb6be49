/** Lines of a log as the parts that travel to the cloud (spec/sm.md 10.4). */
import { constants, gzipSync } from 'node:zlib';
import { AosError } from '../../core/index.ts';

/** Largest compressed part that twins take. */
const MAX_COMPRESSED_BYTES = 262_144;
const GZIP_LEVEL = 6;

export interface PartLimits {
  /** Plain bytes. */
  readonly maxPartSize: number;
  readonly maxPartCount: number;
}

/** Gathers lines; each part is a gzip stream of its own. Bounded by the limits: too much is an error, not a cut. */
export class LogParts {
  readonly #limits: PartLimits;
  readonly #parts: Buffer[] = [];
  #lines: Buffer[] = [];
  #size = 0;

  constructor(limits: PartLimits) {
    this.#limits = limits;
  }

  /** Throws `outOfRange` when the parts are more than are allowed. */
  add(line: string): void {
    const bytes = Buffer.from(line);
    const isFull = this.#size > 0 && this.#size + bytes.length > this.#limits.maxPartSize;
    if (isFull) this.#close();
    this.#lines.push(bytes);
    this.#size += bytes.length;
  }

  /** All parts, none when no line came. */
  finish(): readonly Buffer[] {
    if (this.#size > 0) this.#close();
    return this.#parts;
  }

  #close(): void {
    // As twins: the part that follows the last allowed one may still be opened, and nothing may follow it.
    if (this.#parts.length > this.#limits.maxPartCount) {
      throw new AosError(
        'outOfRange',
        `the log has more than ${this.#limits.maxPartCount} parts; ask for a shorter time`,
      );
    }
    const part = gzipSync(Buffer.concat(this.#lines), { level: GZIP_LEVEL, strategy: constants.Z_DEFAULT_STRATEGY });
    if (part.length > MAX_COMPRESSED_BYTES) {
      throw new AosError('outOfRange', `a part of the log has more than ${MAX_COMPRESSED_BYTES} compressed bytes`);
    }
    this.#parts.push(part);
    this.#lines = [];
    this.#size = 0;
  }
}
