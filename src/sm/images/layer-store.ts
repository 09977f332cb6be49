/**
 * Unpacked layers of services, named by the digest of their packed form (spec/sm.md 3.1, spec/decisions.md C-56, 4.3).
 *
 *     <imagePath>/layers/sha256/<hex>/layer        the tree, a lower directory of overlays
 *                                    /list         its entries, for the integrity check
 *                                    /floor        directories that white-outs need below them, if it has any
 *                                    /layer.json   written last: a layer without it does not exist
 */
import { lstat, open, readdir, readFile, rm, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import {
  AosError,
  asAosError,
  type Digest,
  faultPoint,
  isAosError,
  parseDigest,
  parseJson,
  readDocument,
} from '../../core/index.ts';
import {
  findLayerDamage,
  type LayerCheck,
  makeWhiteOutFloor,
  type OverlayMarks,
  unpackLayer,
  writeLayerList,
} from '../../platform/archive/index.ts';
import {
  HostMounts,
  makeFifos,
  makeOpaqueDirectories,
  makeWhiteOut,
  syncFileSystem,
} from '../../platform/mount/index.ts';
import type { Programs } from '../../platform/program/index.ts';
import { ensureDirectory, syncDirectory, writeFileAtomic } from '../../storage/index.ts';

const ALGORITHM = 'sha256';
const HEX = /^[0-9a-f]{64}$/;
const COMPLETE = 'layer.json';
const TREE = 'layer';
const LIST = 'list';
const FLOOR = 'floor';
/** A character device that all white-outs are links to. */
const WHITE_OUT = 'white-out';
const UNMOUNT_TIMEOUT_MS = 10_000;

const LayerInfo = z.object({
  digest: z.string(),
  /** Digest of the plain tar. */
  diffId: z.string(),
  /** Content of all files. */
  sizeBytes: z.number(),
  entries: z.number(),
  /** Directories that hide what lies below them; the empty path is the whole layer. One character for each byte. */
  opaque: z.array(z.string()),
  /** It has a floor, see `makeWhiteOutFloor`. */
  hasFloor: z.boolean(),
});
export type LayerInfo = z.output<typeof LayerInfo>;

export interface UnpackOptions {
  readonly signal: AbortSignal;
  readonly onBytes?: (totalBytes: number) => void;
}

export class LayerStore {
  readonly #directory: string;
  readonly #whiteOut: string;
  readonly #programs: Programs | undefined;

  private constructor(imagePath: string, programs: Programs | undefined) {
    this.#programs = programs;
    this.#directory = join(imagePath, 'layers', ALGORITHM);
    this.#whiteOut = join(imagePath, WHITE_OUT);
  }

  /** By default it runs programs as children of its own. */
  static async open(imagePath: string, programs?: Programs): Promise<LayerStore> {
    const store = new LayerStore(imagePath, programs);
    await ensureDirectory(store.#directory);
    return store;
  }

  /** The tree of a layer, if it is there. */
  path(digest: Digest): string {
    return join(this.#layer(digest), TREE);
  }

  /** Undefined: the layer is not there, or not completely. Reads one small file. */
  async find(digest: Digest): Promise<LayerInfo | undefined> {
    return readLayerInfo(this.#layer(digest));
  }

  /**
   * Unpacks a layer and makes it durable; what an interrupted attempt left is removed first. Throws what `unpackLayer`
   * throws; nothing of the layer is left then.
   */
  async install(digest: Digest, file: string, options: UnpackOptions): Promise<LayerInfo> {
    const directory = this.#layer(digest);
    await this.remove(digest);
    await ensureDirectory(directory);
    try {
      const { tree, diffId, sizeBytes } = await unpackLayer({
        file,
        digest,
        into: join(directory, TREE),
        marks: this.#marks(),
        signal: options.signal,
        onBytes: options.onBytes,
      });
      faultPoint('sm.images.layer.unpacked');
      await writeLayerList(join(directory, LIST), tree);
      const hasFloor = await makeWhiteOutFloor(tree, join(directory, FLOOR));
      await syncFileSystem(directory, options.signal, this.#programs);
      const entries = tree.nodes.size - 1;
      const info: LayerInfo = { digest, diffId, sizeBytes, entries, opaque: [...tree.opaque], hasFloor };
      await writeFileAtomic(join(directory, COMPLETE), JSON.stringify(info), {
        mode: 0o444,
        faultName: 'sm.images.layer.complete',
      });
      return info;
    } catch (error) {
      await this.remove(digest);
      throw error;
    }
  }

  /** Removes a layer; one that is not there is no error. It ceases to exist at once, then its files go. */
  async remove(digest: Digest): Promise<void> {
    const directory = this.#layer(digest);
    try {
      await unlink(join(directory, COMPLETE));
      await syncDirectory(directory);
    } catch (error) {
      if (asAosError(error).code !== 'notFound') throw asAosError(error, `cannot remove layer ${digest}`);
    }
    faultPoint('sm.images.layer.remove');
    await removeTree(directory);
  }

  /** The first damage of a layer in words; undefined when it is whole. */
  async findDamage(digest: Digest, check: LayerCheck): Promise<string | undefined> {
    const directory = this.#layer(digest);
    try {
      const info = await this.find(digest);
      if (!info) return 'it is not there';
      const { entries } = info;
      return await findLayerDamage(join(directory, TREE), join(directory, LIST), { ...check, entries });
    } catch (error) {
      if (isAosError(error, 'canceled')) throw error;
      return asAosError(error, 'it cannot be checked').message;
    }
  }

  /** Names of all directories of the store: whole layers, remains, and what others left here. */
  async names(): Promise<string[]> {
    return readdir(this.#directory);
  }

  /** Removes whatever bears a name from `names`. */
  async removeName(name: string): Promise<void> {
    if (HEX.test(name)) return this.remove(`${ALGORITHM}:${name}`);
    await removeTree(join(this.#directory, name));
  }

  #layer(digest: Digest): string {
    return join(this.#directory, parseDigest(digest).hex);
  }

  #marks(): OverlayMarks {
    return {
      whiteOut: async (signal) => {
        // What is not there, or cannot be looked at, is made anew below, and that fails with the reason.
        const found = await lstat(this.#whiteOut).catch(() => undefined);
        // Each white-out is a link to it, and a file system counts them in few bits.
        if (found?.isCharacterDevice() && found.nlink < 30_000) return this.#whiteOut;
        await rm(this.#whiteOut, { force: true });
        await makeWhiteOut(this.#whiteOut, signal);
        return this.#whiteOut;
      },
      opaqueDirectories: makeOpaqueDirectories,
      fifos: makeFifos,
    };
  }
}

/** Removes a directory, with what a killed process may have left mounted in it. */
async function removeTree(directory: string): Promise<void> {
  const remove = () => rm(directory, { recursive: true, force: true });
  try {
    await remove();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw asAosError(error, `cannot remove ${directory}`);
    const mounts = new HostMounts();
    const targets = (await mounts.listBelow(directory)).map(({ target }) => target);
    await mounts.unmountAll(targets.reverse(), AbortSignal.timeout(UNMOUNT_TIMEOUT_MS));
    await remove();
  }
}

/** What is known about the layer in a directory of the store; undefined when it is not complete. */
export async function readLayerInfo(directory: string): Promise<LayerInfo | undefined> {
  const path = join(directory, COMPLETE);
  try {
    const text = await readFile(path, 'utf8');
    const { value } = readDocument(LayerInfo, parseJson(text, path), { what: path });
    return (await stat(join(directory, TREE))).isDirectory() ? value : undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Damaged or missing: in both cases there is no layer, and it will be fetched.
    if (code === 'ENOENT' || isAosError(error, 'invalidArgument')) return undefined;
    throw asAosError(error, `cannot read ${path}`);
  }
}

/**
 * How large a packed layer will probably be, in bytes. Only an estimate: the writer of the file may lie, so the work
 * itself is bounded too.
 */
export async function estimateUnpackedBytes(file: string): Promise<number> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    const head = Buffer.alloc(4);
    await handle.read(head, 0, 4, 0);
    if (head[0] === 0x1f && head[1] === 0x8b && size >= 18) {
      const tail = Buffer.alloc(4);
      await handle.read(tail, 0, 4, size - 4);
      return Math.max(tail.readUInt32LE(), size);
    }
    // Zstandard need not say; three times is usual for programs and texts.
    return head.readUInt32LE() === 0xfd2fb528 ? size * 3 : size;
  } catch (error) {
    throw new AosError('runtime', `cannot read ${file}: ${String(error)}`, { cause: error });
  } finally {
    await handle.close();
  }
}
