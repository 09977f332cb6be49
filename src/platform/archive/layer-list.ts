/**
 * What an unpacked layer consists of, as a file beside it: to find damage later without the packed layer
 * (spec/decisions.md 4.3). One JSON array a line, sorted by path; links are compared by their text and never followed
 * (spec/sm.md T-75).
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, open, readlink } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { throwIfCanceled } from '../../core/index.ts';
import type { LayerTree, Node } from './layer-tree.ts';
import { rawPath } from './raw-path.ts';
import { showName } from './tar-header.ts';

type Line =
  | readonly ['f', path: string, sizeBytes: number, sha256: string]
  | readonly ['l', path: string, target: string]
  | readonly ['w', path: string]
  | readonly ['p', path: string]
  | readonly ['d', path: string];

/** How thoroughly a layer is looked at; contents are read at the pace that `pace` allows. */
export interface LayerCheck {
  readonly signal: AbortSignal;
  /** How many entries the list must have: one that was cut would find less damage. */
  readonly entries?: number | undefined;
  /** Given: contents are hashed as well. Called after each piece that was read. */
  readonly pace?: ((bytes: number) => Promise<void>) | undefined;
}

/** Writes the list. The file is new and not yet durable. */
export async function writeLayerList(path: string, tree: LayerTree): Promise<void> {
  const file = await open(path, 'wx', 0o444);
  try {
    const entries = [...tree.nodes].filter(([name]) => name !== '').sort(([a], [b]) => (a < b ? -1 : 1));
    let text = '';
    for (const [name, node] of entries) {
      text += `${JSON.stringify(toLine(name, node))}\n`;
      if (text.length > 256 * 1024) {
        await file.writeFile(text);
        text = '';
      }
    }
    await file.writeFile(text);
  } finally {
    await file.close();
  }
}

function toLine(path: string, node: Node): Line {
  switch (node.kind) {
    case 'file':
      return ['f', path, node.sizeBytes, node.sha256];
    case 'symlink':
      return ['l', path, node.target];
    case 'white-out':
      return ['w', path];
    case 'fifo':
      return ['p', path];
    default:
      return ['d', path];
  }
}

/** The first damage of an unpacked layer, in words, or undefined when it is whole. Throws for a list that cannot be read. */
export async function findLayerDamage(
  directory: string,
  listPath: string,
  check: LayerCheck,
): Promise<string | undefined> {
  const lines = createInterface({ input: createReadStream(listPath), crlfDelay: Number.POSITIVE_INFINITY });
  try {
    let count = 0;
    for await (const text of lines) {
      throwIfCanceled(check.signal);
      count += 1;
      const line = parseLine(text);
      const damage = line ? await damageOf(directory, line, check) : 'its list of entries is damaged';
      if (damage) return damage;
    }
    const { entries = count } = check;
    return count === entries ? undefined : `its list has ${count} entries, expected ${entries}`;
  } finally {
    lines.close();
  }
}

function parseLine(text: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && typeof value[0] === 'string' && typeof value[1] === 'string'
      ? (value as unknown as Line)
      : undefined;
  } catch {
    return undefined;
  }
}

async function damageOf(directory: string, line: Line, check: LayerCheck): Promise<string | undefined> {
  const [kind, name] = line;
  const path = rawPath(name, directory);
  const shown = showName(name);
  try {
    const found = await lstat(path);
    switch (kind) {
      case 'f': {
        if (!found.isFile()) return `${shown} is no file any more`;
        const [, , sizeBytes, sha256] = line;
        if (found.size !== sizeBytes) return `file ${shown} has ${found.size} bytes, expected ${sizeBytes}`;
        if (!check.pace) return undefined;
        return (await hashFile(path, check.pace)) === sha256 ? undefined : `the content of file ${shown} has changed`;
      }
      case 'l':
        if (!found.isSymbolicLink()) return `${shown} is no symbolic link any more`;
        return (await readlink(path, 'buffer')).toString('latin1') === line[2]
          ? undefined
          : `the link ${shown} has changed`;
      case 'w':
        return found.isCharacterDevice() && found.rdev === 0 ? undefined : `${shown} hides nothing any more`;
      case 'p':
        return found.isFIFO() ? undefined : `${shown} is no named pipe any more`;
      default:
        return found.isDirectory() ? undefined : `${shown} is no directory any more`;
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return `${shown} is missing`;
    if (code === 'EIO') return `${shown} cannot be read`;
    throw error;
  }
}

async function hashFile(path: string | Buffer, pace: (bytes: number) => Promise<void>): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 256 * 1024 })) {
    hash.update(chunk as Buffer);
    await pace((chunk as Buffer).length);
  }
  return hash.digest('hex');
}
