/** Reads a tar archive as its bytes come; memory does not grow with the archive. */
import { AosError } from '../../core/index.ts';
import {
  applyPax,
  BLOCK_BYTES,
  isZeroBlock,
  parseHeader,
  parsePaxRecords,
  showName,
  type TarHeader,
} from './tar-header.ts';

/** A whole extended header; real ones have a few hundred bytes. */
const MAX_EXTENSION_BYTES = 1024 * 1024;

/** One entry, extensions applied. */
export type TarEntry = TarHeader;

/** Who takes the entries. A promise makes the reader wait; without one nothing is awaited, which is much faster. */
export interface TarSink {
  begin(entry: TarEntry): Promise<void> | undefined;
  /** A piece of the content of the entry begun last, to keep if the sink likes: nobody writes into it again. */
  data(piece: Buffer): Promise<void> | undefined;
  /** The entry begun last is complete. */
  end(): Promise<void> | undefined;
}

/** Bytes go in by `push`, entries come out at the sink. Throws `invalidArgument` for what is no archive. */
export class TarReader {
  readonly #sink: TarSink;
  readonly #block = Buffer.alloc(BLOCK_BYTES);
  #blockBytes = 0;
  /** Content of the present entry that is still to come, and what fills up its last block. */
  #bodyBytes = 0;
  #padding = 0;
  #lastName: string | undefined;
  #zeroBlocks = 0;
  #current: TarHeader | undefined;
  #extension: { readonly type: string; readonly pieces: Buffer[] } | undefined;
  #pax: Map<string, string> | undefined;
  #longName: string | undefined;
  #longLink: string | undefined;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  async push(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length && this.#zeroBlocks < 2; ) {
      if (this.#bodyBytes > 0) {
        const piece = chunk.subarray(at, at + this.#bodyBytes);
        at += piece.length;
        this.#bodyBytes -= piece.length;
        const wait = this.#onData(piece);
        if (wait) await wait;
        if (this.#bodyBytes === 0) {
          const end = this.#onEnd();
          if (end) await end;
        }
      } else if (this.#padding > 0) {
        const skipped = Math.min(this.#padding, chunk.length - at);
        at += skipped;
        this.#padding -= skipped;
      } else {
        const copied = chunk.copy(this.#block, this.#blockBytes, at, at + BLOCK_BYTES - this.#blockBytes);
        at += copied;
        this.#blockBytes += copied;
        if (this.#blockBytes < BLOCK_BYTES) break;
        this.#blockBytes = 0;
        const wait = this.#onHeader();
        if (wait) await wait;
        if (this.#bodyBytes === 0 && (this.#current || this.#extension)) {
          const end = this.#onEnd();
          if (end) await end;
        }
      }
    }
  }

  /** No more bytes will come. Throws `invalidArgument` when the archive ends in the middle of something. */
  finish(): void {
    if (this.#zeroBlocks >= 2) return;
    if (this.#current || this.#extension || this.#blockBytes > 0 || this.#padding > 0) {
      const where = this.#current ? ` in the middle of ${showName(this.#current.name)}` : '';
      throw new AosError('invalidArgument', `the archive ends too early${where}`);
    }
  }

  #onHeader(): Promise<void> | undefined {
    if (isZeroBlock(this.#block)) {
      this.#zeroBlocks += 1;
      return undefined;
    }
    this.#zeroBlocks = 0;
    const header = parseHeader(this.#block, this.#place());
    switch (header.type) {
      case 'pax':
      case 'global-pax':
      case 'long-name':
      case 'long-link':
        this.#extend(header);
        return undefined;
      default:
        return this.#begin(header);
    }
  }

  #extend(header: TarHeader): void {
    if (header.sizeBytes > MAX_EXTENSION_BYTES) {
      throw new AosError(
        'invalidArgument',
        `the archive has an extended header of ${header.sizeBytes} bytes, at most ${MAX_EXTENSION_BYTES} are taken`,
      );
    }
    this.#extension = { type: header.type, pieces: [] };
    this.#expect(header.sizeBytes);
  }

  #begin(header: TarHeader): Promise<void> | undefined {
    const named = {
      ...header,
      name: this.#longName ?? header.name,
      linkName: this.#longLink ?? header.linkName,
    };
    const entry = applyPax(named, this.#pax ?? new Map());
    this.#pax = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#current = entry;
    this.#lastName = entry.name;
    this.#expect(entry.sizeBytes);
    return this.#sink.begin(entry);
  }

  #expect(sizeBytes: number): void {
    this.#bodyBytes = sizeBytes;
    this.#padding = (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES;
  }

  #onData(piece: Buffer): Promise<void> | undefined {
    if (!this.#extension) return this.#sink.data(piece);
    this.#extension.pieces.push(Buffer.from(piece));
    return undefined;
  }

  #onEnd(): Promise<void> | undefined {
    if (!this.#extension) {
      this.#current = undefined;
      return this.#sink.end();
    }
    const body = Buffer.concat(this.#extension.pieces);
    const { type } = this.#extension;
    this.#extension = undefined;
    if (type === 'pax') this.#pax = parsePaxRecords(body);
    if (type === 'long-name') this.#longName = cText(body);
    if (type === 'long-link') this.#longLink = cText(body);
    return undefined;
  }

  #place(): string {
    return this.#lastName === undefined ? 'at its start' : `after ${showName(this.#lastName)}`;
  }
}

function cText(body: Buffer): string {
  const end = body.indexOf(0);
  return body.toString('latin1', 0, end < 0 ? body.length : end);
}
