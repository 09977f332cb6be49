/**
 * User and group ids of instances in a file beside the database: should the database be lost, instances keep the ids
 * that own their files and that their nodes run them with (spec/beyond.md R-04). Written when an instance comes or goes.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { z } from 'zod';
import { asAosError, faultPoint, instanceKey, type Logger, parseJson, readDocument } from '../../core/index.ts';
import { identsOf } from './cache.ts';
import type { InstanceRow } from './instance-row.ts';

export interface Ids {
  /** Instances of one item share the group. */
  readonly itemId: string;
  readonly uid: number;
  readonly gid: number;
}

const IdsFile = z.record(z.string(), z.object({ itemId: z.string(), uid: z.int(), gid: z.int() }));

export class InstanceIds {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #ids: Map<string, Ids>;

  /** A file that cannot be read counts as empty: the database knows the ids as well. */
  constructor(path: string, logger: Logger) {
    this.#path = path;
    this.#logger = logger;
    this.#ids = new Map(Object.entries(readIds(path, logger)));
  }

  /** By `instanceKey`. */
  get all(): ReadonlyMap<string, Ids> {
    return this.#ids;
  }

  /** Takes note of rows that are stored, and of those that are gone for good. A disk that takes nothing costs no more. */
  keep(rows: readonly InstanceRow[], removed: readonly InstanceRow[]): void {
    const known = identsOf(rows);
    let changed = false;
    for (const { ident, uid, gid } of rows) {
      const before = this.#ids.get(instanceKey(ident));
      if (before?.uid === uid && before.gid === gid) continue;
      this.#ids.set(instanceKey(ident), { itemId: ident.itemId, uid, gid });
      changed = true;
    }
    for (const { ident } of removed) {
      if (!known.has(instanceKey(ident)) && this.#ids.delete(instanceKey(ident))) changed = true;
    }
    if (!changed) return;
    try {
      this.#write();
    } catch (error) {
      this.#logger.warn({ path: this.#path, error: asAosError(error).message }, 'ids of instances were not copied');
    }
  }

  #write(): void {
    const growing = `${this.#path}.new`;
    const file = openSync(growing, 'w', 0o600);
    try {
      writeSync(file, JSON.stringify(Object.fromEntries(this.#ids)));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    faultPoint('launcher.ids.written');
    renameSync(growing, this.#path);
    const directory = openSync(dirname(this.#path), 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
    faultPoint('launcher.ids.renamed');
  }
}

function readIds(path: string, logger: Logger): z.output<typeof IdsFile> {
  try {
    return readDocument(IdsFile, parseJson(readFileSync(path, 'utf8'), path), { what: path }).value;
  } catch (error) {
    const { code, message } = asAosError(error);
    if (code !== 'notFound') logger.warn({ path, error: message }, 'the copy of ids of instances cannot be read');
    return {};
  }
}
