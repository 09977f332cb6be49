/** Everything that a cloud is, in one file: while it runs, and as of one moment (docs/cloud.md). */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdtemp, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import type { Readable, Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { type Pack, pack } from 'tar-stream';
import { AosError, asAosError, faultPoint } from '../../core/index.ts';
import { syncDirectory } from '../../storage/index.ts';
import type { BlobFiles } from '../blobs/blob-files.ts';
import type { BlobRow } from '../store/items.ts';

/** The last entry of a backup: what every other one must contain, as `sha256sum -c` reads it. */
export const SUMS = 'SHA256SUMS';
export const DATABASE = 'cloud.db';
export const PKI = 'pki';
export const BLOBS = 'blobs';

/** A blob may be removed between the copy of the database and that of the blobs; then all is copied anew. */
const ATTEMPTS = 3;

export interface BackupSummary {
  readonly files: number;
  readonly bytes: number;
}

interface Source {
  readonly name: string;
  readonly size: number;
  readonly read: () => Promise<Readable>;
}

/**
 * Writes the cloud in `workingDir`, with its blobs wherever they lie, to the file `target`, which appears when it is
 * complete. It holds the keys of the authority: only its owner may read it. Throws `notFound` where no cloud is, `alreadyExist` when the file is there.
 */
export async function backUp(workingDir: string, blobs: BlobFiles, target: string): Promise<BackupSummary> {
  if (await exists(target)) throw new AosError('alreadyExist', `${target} is there already; choose another name`);
  if (!(await exists(join(workingDir, DATABASE)))) {
    throw new AosError('notFound', `there is no cloud in ${workingDir}: it has no ${DATABASE}`);
  }
  const temporary = await mkdtemp(join(dirname(target), `.${basename(target)}-`));
  try {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await write(workingDir, blobs, temporary, target);
      } catch (error) {
        if (asAosError(error).code !== 'notFound' || attempt === ATTEMPTS) throw error;
      }
    }
  } catch (error) {
    throw asAosError(error, `cannot back up ${workingDir}`);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function write(workingDir: string, blobs: BlobFiles, temporary: string, target: string): Promise<BackupSummary> {
  const copy = join(temporary, DATABASE);
  const archive = join(temporary, 'archive');
  await rm(copy, { force: true });
  await copyDatabase(join(workingDir, DATABASE), copy);
  const sources: Source[] = [await fileSource(DATABASE, copy)];
  for (const name of await readdir(join(workingDir, PKI))) {
    sources.push(await fileSource(`${PKI}/${name}`, join(workingDir, PKI, name)));
  }
  for (const { file, fileBytes } of blobFiles(copy)) {
    sources.push({ name: `${BLOBS}/${file}`, size: fileBytes, read: () => blobs.read(file, 0, fileBytes - 1) });
  }
  const tar = pack();
  const output = createWriteStream(archive, { mode: 0o600 });
  const written = finished(tar.pipe(output));
  // A file that cannot be read ends the archive, too.
  written.catch(() => tar.destroy());
  let bytes = 0;
  try {
    const sums: string[] = [];
    for (const source of sources) {
      const sum = await addFile(tar, source);
      bytes += source.size;
      sums.push(`${sum}  ${source.name}\n`);
    }
    tar.entry({ name: SUMS, mode: 0o600 }, sums.join(''));
    tar.finalize();
    await written;
  } catch (error) {
    output.destroy();
    throw error;
  }
  await syncFile(archive);
  faultPoint('cloud.backup.written');
  await rename(archive, target);
  await syncDirectory(dirname(target));
  return { files: sources.length, bytes };
}

async function copyDatabase(from: string, to: string): Promise<void> {
  const database = new DatabaseSync(from, { readOnly: true });
  try {
    await backup(database, to);
  } finally {
    database.close();
  }
}

async function fileSource(name: string, path: string): Promise<Source> {
  const { size } = await stat(path);
  return { name, size, read: async () => createReadStream(path) };
}

type BlobFile = Pick<BlobRow, 'file' | 'fileBytes'>;

function blobFiles(path: string): BlobFile[] {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    return database.prepare('SELECT file, fileBytes FROM blobs ORDER BY file').all() as unknown as BlobFile[];
  } finally {
    database.close();
  }
}

/** Answers its checksum. */
async function addFile(tar: Pack, { name, size, read }: Source): Promise<string> {
  const content = await read();
  const hash = createHash('sha256');
  // Made by another library than Node's streams, to the same pattern.
  const entry = tar.entry({ name, size, mode: 0o600 }) as unknown as Writable;
  await pipeline(
    content,
    async function* (source: AsyncIterable<Buffer>) {
      for await (const chunk of source) {
        hash.update(chunk);
        yield chunk;
      }
    },
    entry,
  );
  return hash.digest('hex');
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
