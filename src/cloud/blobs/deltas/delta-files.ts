/** Deltas as files of a directory: encrypted each with its own key, named at random, with a note of what each is. */
import { createCipheriv, createHash, randomBytes, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import * as z from 'zod';
import { type Digest, type Logger, parseJson } from '../../../core/index.ts';
import { ensureDirectory, writeFileAtomic } from '../../../storage/index.ts';

const CIPHER = 'aes-256-cbc';
const FILE_MODE = 0o400;
const NOTE_MODE = 0o600;
const NOTE = '.json';

const Note = z.object({
  /** What the delta makes, and of what. */
  digest: z.string(),
  base: z.string(),
  contentBytes: z.number(),
  file: z.uuid(),
  fileBytes: z.number(),
  /** SHA3-256 of the encrypted file, hex. */
  fileSha3: z.string(),
  key: z.base64(),
  iv: z.base64(),
});
export type DeltaFile = z.output<typeof Note>;

export interface NewDelta {
  readonly digest: Digest;
  readonly base: Digest;
  readonly contentBytes: number;
  readonly content: AsyncIterable<Uint8Array>;
  /** One that becomes larger is not kept. */
  readonly mostBytes: number;
}

/** All of it can be made again: what is damaged or does not fit is thrown away without a word to anybody. */
export class DeltaFiles {
  readonly #directory: string;
  readonly #limitBytes: number;
  /** The one that was asked for longest ago comes first. */
  readonly #known = new Map<string, DeltaFile>();

  private constructor(directory: string, limitBytes: number) {
    this.#directory = directory;
    this.#limitBytes = limitBytes;
  }

  /** `isWanted` says of a blob whether the cloud still has it. */
  static async open(
    directory: string,
    limitBytes: number,
    isWanted: (digest: Digest) => Promise<boolean>,
    logger: Logger,
  ): Promise<DeltaFiles> {
    await ensureDirectory(directory, 0o700);
    const files = new DeltaFiles(directory, limitBytes);
    const names = new Set(await readdir(directory));
    for (const name of names) {
      if (!name.endsWith(NOTE)) continue;
      const note = await readNote(join(directory, name));
      if (note && names.has(note.file) && (await isWanted(note.digest))) files.#known.set(keyOf(note), note);
    }
    const kept = new Set([...files.#known.values()].flatMap(({ file }) => [file, `${file}${NOTE}`]));
    for (const name of names) if (!kept.has(name)) await rm(join(directory, name), { force: true });
    await files.#shrink();
    logger.debug({ deltas: files.#known.size }, 'deltas of earlier');
    return files;
  }

  find(digest: Digest, base: Digest): DeltaFile | undefined {
    const key = keyOf({ digest, base });
    const found = this.#known.get(key);
    if (!found) return undefined;
    this.#known.delete(key);
    this.#known.set(key, found);
    return found;
  }

  ofFile(file: string): DeltaFile | undefined {
    return [...this.#known.values()].find((delta) => delta.file === file);
  }

  /** The encrypted file from `start` to `end`, both included. */
  async read(file: string, start: number, end: number): Promise<Readable> {
    return createReadStream(join(this.#directory, file), { start, end });
  }

  /** Undefined when the delta is too large to be of use. Throws what its content or the disk fails with. */
  async put({ digest, base, contentBytes, content, mostBytes }: NewDelta): Promise<DeltaFile | undefined> {
    const file = randomUUID();
    const path = join(this.#directory, file);
    const [key, iv] = [randomBytes(32), randomBytes(16)];
    try {
      const written = await writeEncrypted(path, content, createCipheriv(CIPHER, key, iv), mostBytes);
      if (!written) {
        await rm(path, { force: true });
        return undefined;
      }
      const secrets = { key: key.toString('base64'), iv: iv.toString('base64') };
      const delta: DeltaFile = { digest, base, contentBytes, file, ...written, ...secrets };
      // The note last: a file without one is thrown away by the next start.
      await writeFileAtomic(`${path}${NOTE}`, JSON.stringify(delta), { mode: NOTE_MODE });
      this.#known.set(keyOf(delta), delta);
      await this.#shrink();
      return delta;
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    }
  }

  /** Those go first that nobody has asked for since; a unit that downloads one now gets the whole blob instead. */
  async #shrink(): Promise<void> {
    let sizeBytes = [...this.#known.values()].reduce((sum, { fileBytes }) => sum + fileBytes, 0);
    for (const [key, { file, fileBytes }] of this.#known) {
      if (sizeBytes <= this.#limitBytes) return;
      this.#known.delete(key);
      sizeBytes -= fileBytes;
      for (const name of [`${file}${NOTE}`, file]) await rm(join(this.#directory, name), { force: true });
    }
  }
}

function keyOf({ digest, base }: Pick<DeltaFile, 'digest' | 'base'>): string {
  return `${digest.toLowerCase()} ${base.toLowerCase()}`;
}

async function readNote(path: string): Promise<DeltaFile | undefined> {
  try {
    const note = Note.safeParse(parseJson(await readFile(path, 'utf8'), path));
    return note.success ? note.data : undefined;
  } catch {
    // What cannot be read is made again.
    return undefined;
  }
}

/** Undefined when it becomes larger than it may. */
async function writeEncrypted(
  path: string,
  content: AsyncIterable<Uint8Array>,
  cipher: ReturnType<typeof createCipheriv>,
  mostBytes: number,
): Promise<Pick<DeltaFile, 'fileBytes' | 'fileSha3'> | undefined> {
  const hash = createHash('sha3-256');
  let fileBytes = 0;
  const handle = await open(path, 'wx', FILE_MODE);
  try {
    const write = async (bytes: Buffer) => {
      hash.update(bytes);
      fileBytes += bytes.byteLength;
      await handle.appendFile(bytes);
    };
    for await (const bytes of content) {
      await write(cipher.update(bytes));
      if (fileBytes > mostBytes) return undefined;
    }
    await write(cipher.final());
    await handle.sync();
  } finally {
    await handle.close();
  }
  return { fileBytes, fileSha3: hash.digest('hex') };
}
