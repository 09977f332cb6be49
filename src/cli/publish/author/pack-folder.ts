/** A folder as a layer: the same folder gives the same bytes, whoever packs it and whenever. */
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';
import { AosError } from '../../../core/index.ts';
import { steadyGzip } from './steady-gzip.ts';

export interface PackedLayer {
  readonly digest: string;
  /** Digest of the tar. */
  readonly diffId: string;
  readonly sizeBytes: number;
}

const EPOCH = new Date(0);
const PERMISSIONS = 0o777;

/** Writes the layer of a folder (gzipped tar) to a file. Throws `invalidArgument` for what no layer can hold. */
export async function packFolder(folder: string, file: string, signal: AbortSignal): Promise<PackedLayer> {
  const archive = pack();
  const tarHash = createHash('sha256');
  const fileHash = createHash('sha256');
  let sizeBytes = 0;
  const written = pipeline(
    archive,
    tap((chunk) => tarHash.update(chunk)),
    steadyGzip,
    tap((chunk) => {
      fileHash.update(chunk);
      sizeBytes += chunk.length;
    }),
    createWriteStream(file),
    { signal },
  );
  const filled = fill(archive, folder, '').then(
    () => archive.finalize(),
    (error) => archive.destroy(error as Error),
  );
  await Promise.all([written, filled]);
  return { digest: `sha256:${fileHash.digest('hex')}`, diffId: `sha256:${tarHash.digest('hex')}`, sizeBytes };
}

function tap(see: (chunk: Buffer) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _, done) {
      see(chunk);
      done(null, chunk);
    },
  });
}

async function fill(archive: ReturnType<typeof pack>, folder: string, inside: string): Promise<void> {
  for (const name of (await readdir(folder)).toSorted()) {
    const path = join(folder, name);
    const entry = inside === '' ? name : `${inside}/${name}`;
    const stats = await lstat(path);
    const header = { name: entry, mode: stats.mode & PERMISSIONS, mtime: EPOCH, uid: 0, gid: 0 };
    if (stats.isDirectory()) {
      archive.entry({ ...header, name: `${entry}/`, type: 'directory' });
      await fill(archive, path, entry);
    } else if (stats.isSymbolicLink()) {
      archive.entry({ ...header, type: 'symlink', linkname: await readlink(path) });
    } else if (stats.isFile()) {
      await pipeline(createReadStream(path), archive.entry({ ...header, size: stats.size }));
    } else {
      throw new AosError('invalidArgument', `${path} is neither a file, a folder nor a symbolic link`);
    }
  }
}
