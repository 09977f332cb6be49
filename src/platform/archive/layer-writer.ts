/**
 * Makes the tree of a layer on the disk. Every path is resolved by `LayerTree`, never by the kernel.
 *
 * No call waits within the event loop, since a disk that is busy holds each of them up for long. Small files, of which
 * most layers consist, are written several at a time.
 */
import { createHash, type Hash } from 'node:crypto';
import * as fs from 'node:fs';
import { chmod, link, mkdir, readdir, rename, rm, rmdir, stat, symlink, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { throwIfCanceled } from '../../core/index.ts';
import { type Action, LayerTree, parentPath, refuse } from './layer-tree.ts';
import { rawPath } from './raw-path.ts';
import type { TarEntry, TarSink } from './tar-reader.ts';
import { Tasks } from './tasks.ts';
import type { UnpackLimits, UnpackRequest } from './unpack-model.ts';

/** Limits of a layer (spec/decisions.md 8.3). */
const MAX_ENTRIES = 1_000_000;
const MAX_RATIO = 40;
const ALWAYS_ALLOWED_BYTES = 1024 ** 3;

/** Files up to this size are gathered in memory and written by themselves. */
const SMALL_FILE_BYTES = 64 * 1024;
const PARALLEL_CALLS = 16;

const SET_ID_BITS = 0o6000;
const STICKY_BIT = 0o1000;
const NEW_FILE = fs.constants.O_WRONLY | fs.constants.O_CREAT | fs.constants.O_EXCL | fs.constants.O_NOFOLLOW;

// Bare descriptors: the objects around them cost more than the calls when there are thousands.
const openFile = promisify(fs.open);
const writeFile = promisify(fs.write);
const changeMode = promisify(fs.fchmod);
const changeTimes = promisify(fs.futimes);
const closeFile = promisify(fs.close);

type DirectoryNode = { readonly kind: 'directory'; mode: number; mtime: number };

/** The file whose content is coming. */
interface OpenFile {
  readonly entry: TarEntry;
  readonly path: string;
  readonly hash: Hash;
  /** Absent for a small file, whose content is gathered. */
  readonly fd?: number;
  readonly pieces: Buffer[];
}

export class LayerWriter implements TarSink {
  readonly tree: LayerTree;
  readonly #request: UnpackRequest;
  readonly #limits: UnpackLimits;
  readonly #packedBytes: number;
  readonly #tasks = new Tasks(PARALLEL_CALLS);
  #plainBytes = 0;
  #entryName = '';
  #open: OpenFile | undefined;
  sizeBytes = 0;

  private constructor(request: UnpackRequest, packedBytes: number) {
    this.#request = request;
    this.#packedBytes = packedBytes;
    this.#limits = {
      maxEntries: MAX_ENTRIES,
      alwaysAllowedBytes: ALWAYS_ALLOWED_BYTES,
      maxRatio: MAX_RATIO,
      ...request.limits,
    };
    this.tree = new LayerTree(this.#limits);
  }

  static async create(request: UnpackRequest): Promise<LayerWriter> {
    return new LayerWriter(request, (await stat(request.file)).size);
  }

  /** Refuses what grows out of all proportion while it is unpacked. */
  countPlain(bytes: number): void {
    this.#plainBytes += bytes;
    const { alwaysAllowedBytes, maxRatio } = this.#limits;
    if (this.#plainBytes > alwaysAllowedBytes && this.#plainBytes > maxRatio * this.#packedBytes) {
      throw refuse(
        this.#entryName,
        `the layer grows to more than ${maxRatio} times its ${this.#packedBytes} packed bytes`,
      );
    }
  }

  begin(entry: TarEntry): Promise<void> | undefined {
    this.#entryName = entry.name;
    const action = this.tree.plan(entry);
    if (action.do === 'mark') return undefined;
    if (action.do === 'update-directory') {
      this.tree.nodes.set(action.path, directoryNode(entry));
      return undefined;
    }
    const isSmall = entry.type === 'file' && entry.sizeBytes <= SMALL_FILE_BYTES;
    if (action.do === 'make' && isSmall && action.missing.length === 0 && !action.replaces) {
      this.#open = { entry, path: action.path, hash: createHash('sha256'), pieces: [] };
      return undefined;
    }
    return this.#beginInOrder(action, entry, isSmall);
  }

  data(piece: Buffer): Promise<void> | undefined {
    const file = this.#open;
    if (!file) return undefined;
    file.hash.update(piece);
    this.sizeBytes += piece.length;
    this.#request.onBytes?.(this.sizeBytes);
    if (file.fd !== undefined) return writeWhole(file.fd, piece);
    file.pieces.push(piece);
    return undefined;
  }

  end(): Promise<void> | undefined {
    const file = this.#open;
    if (!file) return undefined;
    const { path, entry, hash, fd, pieces } = file;
    this.tree.nodes.set(path, { kind: 'file', sizeBytes: entry.sizeBytes, sha256: hash.digest('hex') });
    this.#open = undefined;
    return this.#tasks.add(async () => {
      const made = fd ?? (await openFile(this.#path(path), NEW_FILE, 0o600));
      try {
        for (const piece of pieces) await writeWhole(made, piece);
        await changeMode(made, entry.mode & ~SET_ID_BITS);
        const time = saneTime(entry.mtime);
        await changeTimes(made, time, time);
      } finally {
        await closeFile(made);
      }
    });
  }

  /** Ends what is under way, successful or not; the directory is quiet then. */
  async close(): Promise<void> {
    await this.#tasks.settle();
    if (this.#open?.fd !== undefined) await closeFile(this.#open.fd);
    this.#open = undefined;
  }

  /** What depends on the whole layer: named pipes, marks, then modes and times of directories. */
  async complete(): Promise<void> {
    await this.#tasks.drain();
    await this.#makeFifos();
    await this.#makeWhiteOuts();
    await this.#makeOpaque();
    await this.#finishDirectories();
  }

  /** What others depend on is there before the next entry is looked at. */
  async #beginInOrder(
    action: Extract<Action, { do: 'make' | 'link' }>,
    entry: TarEntry,
    isSmall: boolean,
  ): Promise<void> {
    const { path } = action;
    await this.#makeMissing(action.missing, entry.mtime);
    if (action.replaces || action.do === 'link') await this.#tasks.drain();
    if (action.replaces) {
      await rm(this.#path(path), { recursive: true, force: true });
      this.tree.remove(path);
    }
    if (action.do === 'link') return this.#link(path, action.to);
    switch (entry.type) {
      case 'directory':
        await this.#makeDirectory(path, directoryNode(entry));
        break;
      case 'symlink':
        if (entry.linkName === '') throw refuse(entry.name, 'it is a symbolic link to nothing');
        await symlink(rawPath(entry.linkName), this.#path(path));
        this.tree.nodes.set(path, { kind: 'symlink', target: entry.linkName });
        break;
      case 'fifo':
        this.tree.nodes.set(path, { kind: 'fifo', mode: entry.mode & 0o777 });
        break;
      default: {
        const fd = isSmall ? undefined : await openFile(this.#path(path), NEW_FILE, 0o600);
        this.#open = { entry, path, hash: createHash('sha256'), pieces: [], ...(fd !== undefined && { fd }) };
      }
    }
  }

  async #makeMissing(paths: readonly string[], mtime: number): Promise<void> {
    for (const path of paths) await this.#makeDirectory(path, { kind: 'directory', mode: 0o755, mtime });
  }

  async #makeDirectory(path: string, node: DirectoryNode): Promise<void> {
    // Open for its owner alone until all is in it.
    await mkdir(this.#path(path), { mode: 0o700 });
    this.tree.nodes.set(path, node);
  }

  async #link(path: string, to: string): Promise<void> {
    const node = this.tree.nodes.get(to)!;
    if (node.kind === 'fifo') throw refuse(path, 'it is a hard link to a named pipe');
    await link(this.#path(to), this.#path(path));
    this.tree.nodes.set(path, node);
  }

  async #makeFifos(): Promise<void> {
    const fifos = [...this.tree.nodes].flatMap(([path, node]) =>
      node.kind === 'fifo' ? [{ path, mode: node.mode }] : [],
    );
    if (fifos.length === 0) return;
    const unusable = fifos.find(({ path }) => rawPath(path) instanceof Buffer);
    if (unusable) throw refuse(unusable.path, 'it is a named pipe with a name that is not ASCII');
    const paths = fifos.map(({ path }) => join(this.#request.into, path));
    await this.#request.marks.fifos(paths, this.#request.signal);
    await this.#each(fifos.entries(), ([index, { mode }]) => chmod(paths[index]!, mode));
  }

  async #makeWhiteOuts(): Promise<void> {
    const paths = [...this.tree.whiteOuts].filter((path) => !this.tree.nodes.has(path));
    if (paths.length === 0) return;
    const { marks, signal } = this.#request;
    const template = await marks.whiteOut(signal);
    for (const path of paths) await this.#makeMissing(this.#missingParents(path), 0);
    await this.#each(paths, (path) => link(template, this.#path(path)));
    for (const path of paths) this.tree.nodes.set(path, { kind: 'white-out' });
  }

  /** A mark may stand where the layer has nothing else. */
  #missingParents(path: string): string[] {
    const missing: string[] = [];
    for (let parent = parentPath(path); parent !== ''; parent = parentPath(parent)) {
      const node = this.tree.nodes.get(parent);
      if (node?.kind === 'directory') break;
      if (node) throw refuse(path, 'it is hidden below something that is no directory');
      missing.unshift(parent);
    }
    return missing;
  }

  /** The directory at the top needs no mark: what is known of the layer says that it is opaque, and stacking ends there. */
  async #makeOpaque(): Promise<void> {
    const paths = [...this.tree.opaque].filter((path) => path !== '');
    for (const path of paths) await this.#makeMissing(this.#missingParents(`${path}/.`), 0);
    if (paths.length === 0) return;
    const { marks, into, signal } = this.#request;
    const made = await marks.opaqueDirectories(join(into, '..'), paths.length, signal);
    for (const [index, path] of paths.entries()) {
      const from = this.#path(path);
      const to = made[index]!;
      const names = await readdir(from, { encoding: 'buffer' });
      await this.#each(names, (name) => rename(inDirectory(from, name), inDirectory(to, name)));
      await rmdir(from);
      await rename(to, from);
    }
  }

  /** Last, since each new entry changes the time of its directory, and a directory may forbid writing. */
  async #finishDirectories(): Promise<void> {
    const directories = [...this.tree.nodes].flatMap(([path, node]) =>
      node.kind === 'directory' ? [{ path, node }] : [],
    );
    await this.#each(directories, async ({ path, node }) => {
      const time = saneTime(node.mtime);
      await chmod(this.#path(path), node.mode);
      await utimes(this.#path(path), time, time);
    });
  }

  /** Several at a time; all are done at the end. */
  async #each<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
    for (const item of items) {
      const wait = this.#tasks.add(() => work(item));
      if (wait) await wait;
      throwIfCanceled(this.#request.signal);
    }
    await this.#tasks.drain();
  }

  #path(path: string): string | Buffer {
    return rawPath(path, this.#request.into);
  }
}

function inDirectory(directory: string | Buffer, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(directory), Buffer.from('/'), name]);
}

async function writeWhole(fd: number, piece: Buffer): Promise<void> {
  for (let at = 0; at < piece.length; ) {
    const { bytesWritten } = await writeFile(fd, piece, at, piece.length - at);
    at += bytesWritten;
  }
}

/** World-writable directories get the sticky bit; they stay writable, since images rely on it. */
function directoryNode(entry: TarEntry): DirectoryNode {
  const mode = (entry.mode & 0o002) === 0 ? entry.mode : entry.mode | STICKY_BIT;
  return { kind: 'directory', mode, mtime: entry.mtime };
}

/** What every file system can hold. */
function saneTime(seconds: number): number {
  return Math.min(Math.max(seconds, 0), 0xffff_ffff);
}
