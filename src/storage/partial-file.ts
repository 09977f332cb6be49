/** A file that is being downloaded, with a note beside it of what it is a part of. */
import { type FileHandle, open, readFile, rm } from 'node:fs/promises';
import { isObject } from '../core/index.ts';
import { writeFileAtomic } from './atomic-file.ts';
import { freeChunk, writeAll } from './chunks.ts';

/** Where the bytes come from; the note is never trusted for more than asking to go on. */
export interface PartialSource {
  /** Without query, since signed addresses change. */
  readonly url: string;
  /** Strong entity tag or date of last change, as the server wrote it. */
  readonly validator?: string | undefined;
  readonly totalBytes?: number | undefined;
}

/**
 * What is made of bytes on their way into a partial file. What comes out stands at the place of what went in, so that
 * the size of the file says how much of the download has been used.
 */
export interface Intake {
  /** The file was emptied. */
  restart(): void;
  /** The next bytes follow so many in the file, which another process may have written; answers how many may stay. */
  continueAt(path: string, sizeBytes: number, signal: AbortSignal): Promise<number>;
  /**
   * What is to be written for the bytes that come next; some may be held back until others follow. It is given away: its
   * memory is freed when it is written.
   */
  take(piece: Uint8Array): Promise<Uint8Array>;
}

export interface PartialFileOptions {
  /** Says which content is wanted; a part of another content is not continued. */
  readonly contentId: string;
  readonly intake?: Intake | undefined;
  readonly signal: AbortSignal;
}

interface Note extends PartialSource {
  readonly contentId: string;
}

/**
 * The file at `path` and its note at `<path>.from`. Bytes without a fitting note are forgotten: the note is written
 * after the file was emptied and before its first byte.
 */
export class PartialFile {
  readonly path: string;
  readonly #file: FileHandle;
  readonly #contentId: string;
  readonly #intake: Intake | undefined;
  #source: PartialSource | undefined;
  #sizeBytes: number;

  private constructor(
    path: string,
    file: FileHandle,
    { contentId, intake }: PartialFileOptions,
    source: PartialSource | undefined,
    sizeBytes: number,
  ) {
    this.path = path;
    this.#file = file;
    this.#contentId = contentId;
    this.#intake = intake;
    this.#source = source;
    this.#sizeBytes = sizeBytes;
  }

  static async open(path: string, options: PartialFileOptions): Promise<PartialFile> {
    const { contentId, intake, signal } = options;
    const note = await readNote(path);
    const file = await open(path, 'a+');
    try {
      if (note?.contentId !== contentId) {
        intake?.restart();
        return new PartialFile(path, file, options, undefined, 0);
      }
      const { size } = await file.stat();
      const keptBytes = intake ? await intake.continueAt(path, size, signal) : size;
      if (keptBytes < size) await file.truncate(keptBytes);
      return new PartialFile(path, file, options, note, keptBytes);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Bytes that are there and may be continued. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get source(): PartialSource | undefined {
    return this.#source;
  }

  /** Empties the file and begins with what comes from this source. */
  async restart(source: PartialSource): Promise<void> {
    this.#sizeBytes = 0;
    this.#source = source;
    this.#intake?.restart();
    await this.#file.truncate(0);
    const note: Note = { ...source, contentId: this.#contentId };
    await writeFileAtomic(notePath(this.path), JSON.stringify(note), { faultName: 'storage.download-note' });
  }

  async append(chunk: Uint8Array): Promise<void> {
    const kept = this.#intake ? await this.#intake.take(chunk) : chunk;
    await writeAll(this.#file, kept);
    this.#sizeBytes += kept.byteLength;
    if (kept !== chunk) freeChunk(kept);
  }

  /** Empties the file: what is in it is of no use. */
  async forget(): Promise<void> {
    this.#sizeBytes = 0;
    this.#source = undefined;
    this.#intake?.restart();
    await rm(notePath(this.path), { force: true });
    await this.#file.truncate(0);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** Removes a partial or complete download with its note. */
export async function discardDownload(path: string): Promise<void> {
  await rm(notePath(path), { force: true });
  await rm(path, { force: true });
}

/** Removes the note of a download whose file went elsewhere. */
export async function forgetDownload(path: string): Promise<void> {
  await rm(notePath(path), { force: true });
}

function notePath(path: string): string {
  return `${path}.from`;
}

async function readNote(path: string): Promise<Note | undefined> {
  let text: string;
  try {
    text = await readFile(notePath(path), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const note: unknown = JSON.parse(text);
    const { url, contentId, validator, totalBytes } = isObject(note) ? note : {};
    if (typeof url !== 'string' || typeof contentId !== 'string') return undefined;
    return {
      url,
      contentId,
      validator: typeof validator === 'string' ? validator : undefined,
      totalBytes: typeof totalBytes === 'number' ? totalBytes : undefined,
    };
  } catch {
    // A note that cannot be read costs starting over, nothing else.
    return undefined;
  }
}
