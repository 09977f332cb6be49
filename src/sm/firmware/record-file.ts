/** Small durable records of the runtimes of firmware, each a JSON file of its own (spec/sm.md 6.2, 6.5). */
import { readFile, rm } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import * as z from 'zod';
import {
  asAosError,
  ERROR_CODES,
  type ErrorCode,
  faultPoint,
  type Logger,
  parseJson,
  readDocument,
} from '../../core/index.ts';
import { ensureDirectory, removeTemporaryFiles, syncDirectory, writeFileAtomic } from '../../storage/index.ts';
import type { Component } from './firmware-model.ts';

/** One record; each call is durable when it resolves. */
export interface RecordFile<T> {
  /** Undefined: there is none, or none that can be read. */
  read(): Promise<T | undefined>;
  write(value: T): Promise<void>;
  remove(): Promise<void>;
}

export interface RecordForm<T> {
  parse(document: unknown, what: string): T;
  format(value: T): object;
}

export class JsonRecordFile<T> implements RecordFile<T> {
  readonly #path: string;
  readonly #form: RecordForm<T>;
  readonly #logger: Logger;

  constructor(path: string, form: RecordForm<T>, logger: Logger) {
    this.#path = path;
    this.#form = form;
    this.#logger = logger;
  }

  async read(): Promise<T | undefined> {
    try {
      // What a power cut left of a write is nothing.
      await removeTemporaryFiles(dirname(this.#path), basename(this.#path));
      const text = await readFile(this.#path, 'utf8');
      return this.#form.parse(parseJson(text, this.#path), this.#path);
    } catch (error) {
      const failure = asAosError(error);
      if (failure.code === 'notFound') return undefined;
      if (failure.code !== 'invalidArgument') throw asAosError(error, `cannot read ${this.#path}`);
      // It is written whole or not at all, so this was somebody else; what runs says what is installed.
      this.#logger.error({ file: this.#path, error: failure.message }, 'a record of firmware is of no use');
      return undefined;
    }
  }

  async write(value: T): Promise<void> {
    await ensureDirectory(dirname(this.#path));
    const text = `${JSON.stringify(this.#form.format(value), undefined, 2)}\n`;
    await writeFileAtomic(this.#path, text, { mode: 0o600, faultName: 'sm.firmware.record' });
  }

  async remove(): Promise<void> {
    faultPoint('sm.firmware.record-remove');
    await removeDurably(this.#path);
    faultPoint('sm.firmware.record-removed');
  }
}

/** What is not there is no error. */
export async function removeDurably(path: string): Promise<void> {
  await rm(path, { force: true });
  await syncDirectory(dirname(path)).catch((error) => {
    if (asAosError(error).code !== 'notFound') throw error;
  });
}

/** Members that both implementations of AosCore write. */
export const COMPONENT_MEMBERS = {
  itemId: z.string(),
  subjectId: z.string(),
  instance: z.int().min(0),
  manifestDigest: z.string().default(''),
  version: z.string(),
  preinstalled: z.boolean().default(false),
};
const ComponentMembers = z.object(COMPONENT_MEMBERS);

export const StoredErrorMember = z
  .object({
    code: z.string().transform((code): ErrorCode => (code in ERROR_CODES ? (code as ErrorCode) : 'failed')),
    exitCode: z.int(),
    message: z.string(),
  })
  .optional();

export function componentFrom(members: z.output<typeof ComponentMembers>): Component {
  const { itemId, subjectId, instance, preinstalled, version, manifestDigest } = members;
  return { ident: { itemId, subjectId, instance, type: 'component', preinstalled }, version, manifestDigest };
}

export function componentMembers({ ident, version, manifestDigest }: Component) {
  return { ...ident, version, manifestDigest };
}

/** A form by a schema. */
export function recordForm<S extends z.ZodType, T>(
  schema: S,
  from: (members: z.output<S>) => T,
  format: (value: T) => object,
): RecordForm<T> {
  return { parse: (document, what) => from(readDocument(schema, document, { what }).value), format };
}
