/** A cloud from its backup. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract, type Header } from 'tar-stream';
import { AosError, asAosError, faultPoint } from '../../core/index.ts';
import { ensureDirectory, syncDirectory } from '../../storage/index.ts';
import { type BackupSummary, BLOBS, DATABASE, exists, PKI, SUMS } from './back-up.ts';

const MAX_SUMS_BYTES = 256 * 1024 * 1024;
const NAME = new RegExp(`^(?:${DATABASE}|(?:${PKI}|${BLOBS})/[A-Za-z0-9_][A-Za-z0-9_.-]*)$`);

/**
 * Puts the cloud of the backup `archive` into `workingDir`, which must be empty or not there: nothing is ever written
 * over. It appears as a whole, after every file was compared with its checksum. Throws `invalidChecksum` for a backup
 * that is cut off or was changed.
 */
export async function restoreBackup(archive: string, workingDir: string): Promise<BackupSummary> {
  if ((await exists(workingDir)) && (await readdir(workingDir)).length > 0) {
    throw new AosError('alreadyExist', `${workingDir} is not empty; move what is in it away first`);
  }
  await ensureDirectory(dirname(workingDir));
  const temporary = await mkdtemp(join(dirname(workingDir), `.${basename(workingDir)}-restored-`));
  try {
    for (const name of [PKI, BLOBS]) await ensureDirectory(join(temporary, name), 0o700);
    const { found, sums, bytes } = await unpack(archive, temporary);
    compare(archive, found, sums);
    for (const name of [PKI, BLOBS, '']) await syncDirectory(join(temporary, name));
    faultPoint('cloud.restore.unpacked');
    // Takes the place of an empty directory, and of nothing else.
    await rename(temporary, workingDir);
    await syncDirectory(dirname(workingDir));
    return { files: found.size, bytes };
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw asAosError(error, `cannot restore ${archive}`);
  }
}

interface Unpacked {
  /** Checksums of what was unpacked, by name. */
  readonly found: Map<string, string>;
  readonly sums: string | undefined;
  readonly bytes: number;
}

async function unpack(archive: string, directory: string): Promise<Unpacked> {
  const found = new Map<string, string>();
  let sums: string | undefined;
  let bytes = 0;
  const unpacker = extract();
  const reading = pipeline(createReadStream(archive), unpacker);
  // Told of by the loop below.
  reading.catch(() => undefined);
  for await (const entry of unpacker) {
    const { name, type, size = 0 } = entry.header as Header;
    if (name === SUMS && size <= MAX_SUMS_BYTES) {
      const chunks: Buffer[] = [];
      for await (const chunk of entry as AsyncIterable<Buffer>) chunks.push(chunk);
      sums = Buffer.concat(chunks).toString('utf8');
      continue;
    }
    if (type !== 'file' || !NAME.test(name)) throw new AosError('invalidArgument', `"${name}" is no part of a cloud`);
    found.set(name, await writeFile(entry as AsyncIterable<Buffer>, join(directory, name)));
    bytes += size;
  }
  await reading;
  return { found, sums, bytes };
}

async function writeFile(content: AsyncIterable<Buffer>, path: string): Promise<string> {
  const hash = createHash('sha256');
  const file = await open(path, 'wx', 0o600);
  try {
    for await (const chunk of content) {
      hash.update(chunk);
      await file.appendFile(chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return hash.digest('hex');
}

function compare(archive: string, found: ReadonlyMap<string, string>, sums: string | undefined): void {
  if (sums === undefined) throw new AosError('invalidChecksum', `${archive} is not complete: it has no ${SUMS}`);
  const wanted = sums
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => [line.slice(66), line.slice(0, 64)] as const);
  const bad = wanted.find(([name, sum]) => found.get(name) !== sum);
  if (bad) throw new AosError('invalidChecksum', `${bad[0]} is missing or is not what was backed up`);
  if (wanted.length !== found.size)
    throw new AosError('invalidChecksum', `${archive} holds files that ${SUMS} does not`);
}
