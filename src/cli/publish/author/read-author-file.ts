/** Author files of either generation. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { AosError, asAosError, isObject } from '../../../core/index.ts';
import type { AuthorItem } from './author-item.ts';
import { readBundle } from './read-bundle.ts';
import { readSingle } from './read-single.ts';

const PLACES = ['meta/config.yaml', 'config.yaml', 'meta/config.yml', 'config.yml'];

/** The author file of a folder; undefined when it has none. */
export function findAuthorFile(folder: string): string | undefined {
  return PLACES.map((place) => join(folder, place)).find((path) => existsSync(path));
}

/** Throws `invalidArgument` naming file, place and fault. */
export async function readAuthorFile(path: string): Promise<AuthorItem[]> {
  const text = await readFile(path, 'utf8');
  return parseAuthorFile(text, path);
}

export function parseAuthorFile(text: string, what: string): AuthorItem[] {
  let document: unknown;
  try {
    document = parse(text);
  } catch (error) {
    throw new AosError('invalidArgument', `${what} is not YAML: ${asAosError(error).message}`, { cause: error });
  }
  if (!isObject(document)) throw new AosError('invalidArgument', `${what}: expected the description of an item`);
  const generation = document.schemaVersion ?? 1;
  if (generation === 2 || generation === '2') return readBundle({ ...document, schemaVersion: 2 }, what);
  if (generation === 1 || generation === '1') {
    const { schemaVersion: _, ...rest } = document;
    return [readSingle(rest, what)];
  }
  throw new AosError('notSupported', `${what}: schemaVersion ${String(generation)} is not known, expected 2`);
}
