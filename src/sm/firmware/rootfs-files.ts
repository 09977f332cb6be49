/** Image and marks in the working directory of the runtime `rootfs` (spec/sm.md 6.2). */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { AosError, asAosError, faultPoint, type Logger, parseDigest, throwIfCanceled } from '../../core/index.ts';
import { ensureDirectory, syncDirectory, temporaryName, writeFileAtomic } from '../../storage/index.ts';
import { type Component, type ComponentImage, parseVersionFile, type StoredError } from './firmware-model.ts';
import {
  COMPONENT_MEMBERS,
  componentFrom,
  componentMembers,
  JsonRecordFile,
  type RecordFile,
  recordForm,
  removeDurably,
  StoredErrorMember,
} from './record-file.ts';
import { ROOTFS_MARKS, type RootfsMark, type RootfsPending } from './rootfs-state.ts';

const IMAGE = 'image.squashfs';
const PIECE_BYTES = 1024 * 1024;

/** What a trial showed of a version, so that it is not tried again. */
export interface Rejected {
  readonly component: Component;
  readonly error: StoredError;
}

/** Each call is durable when it resolves, and can be repeated. */
export interface RootfsFiles {
  readonly installed: RecordFile<Component>;
  readonly pending: RecordFile<RootfsPending>;
  readonly rejected: RecordFile<Rejected>;
  marks(): Promise<ReadonlySet<RootfsMark>>;
  putMark(mark: RootfsMark, text: string): Promise<void>;
  removeMark(mark: RootfsMark): Promise<void>;
  /** Throws `invalidChecksum` for a file that is not that of its digest, `noMemory`, `canceled`. */
  putImage(image: ComponentImage, signal: AbortSignal): Promise<void>;
  removeImages(): Promise<void>;
  /** Of the root file system that runs. Throws `notFound`, `invalidArgument`. */
  runningVersion(): Promise<string>;
}

const Installed = z.object(COMPONENT_MEMBERS);
const Pending = Installed.extend({
  kind: z.enum(['full', 'incremental']).default('full'),
  // Another AosCore writes the record last, and has the image kept when no mark is left (spec/sm.md 6.3).
  phase: z.enum(['preparing', 'requested', 'applying', 'returning']).default('applying'),
  attempts: z.int().min(0).default(0),
  bootId: z.string().default(''),
  error: StoredErrorMember,
});
const RejectedForm = Installed.extend({ error: StoredErrorMember });

export class HostRootfsFiles implements RootfsFiles {
  readonly installed: RecordFile<Component>;
  readonly pending: RecordFile<RootfsPending>;
  readonly rejected: RecordFile<Rejected>;
  readonly #directory: string;
  readonly #versionFile: string;

  constructor(directory: string, versionFile: string, logger: Logger) {
    this.#directory = directory;
    this.#versionFile = versionFile;
    this.installed = new JsonRecordFile(
      join(directory, 'installed_instance.json'),
      recordForm(Installed, componentFrom, componentMembers),
      logger,
    );
    this.pending = new JsonRecordFile(
      join(directory, 'pending_instance.json'),
      recordForm(
        Pending,
        ({ kind, phase, attempts, bootId, error, ...members }): RootfsPending => ({
          ...{ kind, phase, attempts, bootId, error },
          component: componentFrom(members),
        }),
        ({ component, ...rest }) => ({ ...componentMembers(component), ...rest }),
      ),
      logger,
    );
    this.rejected = new JsonRecordFile(
      join(directory, 'rejected_instance.json'),
      recordForm(
        RejectedForm,
        ({ error, ...members }): Rejected => ({
          component: componentFrom(members),
          error: error ?? { code: 'failed', exitCode: 0, message: 'it failed' },
        }),
        ({ component, error }) => ({ ...componentMembers(component), error }),
      ),
      logger,
    );
  }

  async marks(): Promise<ReadonlySet<RootfsMark>> {
    const names = new Set(await this.#names());
    return new Set(ROOTFS_MARKS.filter((mark) => names.has(mark)));
  }

  async putMark(mark: RootfsMark, text: string): Promise<void> {
    await ensureDirectory(this.#directory);
    await writeFileAtomic(join(this.#directory, mark), text, { faultName: 'sm.firmware.mark' });
  }

  async removeMark(mark: RootfsMark): Promise<void> {
    faultPoint('sm.firmware.mark-remove');
    await removeDurably(join(this.#directory, mark));
  }

  async putImage({ path, digest }: ComponentImage, signal: AbortSignal): Promise<void> {
    await ensureDirectory(this.#directory);
    const target = join(this.#directory, IMAGE);
    const temporary = temporaryName(target);
    try {
      const found = await copyDurably(path, temporary, signal);
      if (found !== parseDigest(digest).hex) {
        throw new AosError('invalidChecksum', `the image is not that of its digest ${digest}`);
      }
      faultPoint('sm.firmware.image');
      await rename(temporary, target);
      faultPoint('sm.firmware.image-renamed');
      await syncDirectory(this.#directory);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error instanceof AosError ? error : asAosError(error, `cannot copy the image to ${this.#directory}`);
    }
  }

  async removeImages(): Promise<void> {
    const images = (await this.#names()).filter((name) => name.endsWith('.squashfs') || name.startsWith('.tmp-'));
    for (const name of images) await removeDurably(join(this.#directory, name));
  }

  async runningVersion(): Promise<string> {
    let text: string;
    try {
      text = await readFile(this.#versionFile, 'utf8');
    } catch (error) {
      throw asAosError(error, `cannot read the version file ${this.#versionFile}`);
    }
    return parseVersionFile(text, this.#versionFile);
  }

  async #names(): Promise<string[]> {
    try {
      return await readdir(this.#directory);
    } catch (error) {
      if (asAosError(error).code === 'notFound') return [];
      throw asAosError(error, `cannot read ${this.#directory}`);
    }
  }
}

/** Answers the SHA-256 of what was copied, hexadecimal. */
async function copyDurably(from: string, to: string, signal: AbortSignal): Promise<string> {
  throwIfCanceled(signal);
  const hash = createHash('sha256');
  const file = await open(to, 'wx', 0o600);
  try {
    for await (const piece of createReadStream(from, { highWaterMark: PIECE_BYTES }) as AsyncIterable<Buffer>) {
      throwIfCanceled(signal);
      hash.update(piece);
      await file.appendFile(piece);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return hash.digest('hex');
}
