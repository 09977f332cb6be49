/**
 * Where the entries of a layer belong, and which are refused (spec/decisions.md 4.3). Pure: a picture of the tree in
 * memory, so that no link on the disk is ever followed while unpacking.
 *
 * Paths are relative, without `.` and `..`; the empty path is the layer itself. They hold one character for each byte.
 */
import { AosError } from '../../core/index.ts';
import { showName } from './tar-header.ts';
import type { TarEntry } from './tar-reader.ts';

const MAX_NAME_BYTES = 255;
const MAX_PATH_BYTES = 4095;
const MAX_LINKS_FOLLOWED = 40;
/** Bounds the memory for the picture of the tree. */
const MAX_NAMES_BYTES = 96 * 1024 * 1024;

const WHITE_OUT = '.wh.';
const OPAQUE = '.wh..wh..opq';

/** What stands at a path of the finished tree; in one letter, as it is written into the list of entries. */
export type Node =
  | { readonly kind: 'directory'; mode: number; mtime: number }
  | { readonly kind: 'file'; sizeBytes: number; sha256: string }
  | { readonly kind: 'symlink'; readonly target: string }
  | { readonly kind: 'fifo'; readonly mode: number }
  | { readonly kind: 'white-out' };

/** What an entry of the archive means for the tree. */
export type Action =
  | { readonly do: 'make'; readonly path: string; readonly missing: readonly string[]; readonly replaces: boolean }
  | {
      readonly do: 'link';
      readonly path: string;
      readonly to: string;
      readonly missing: readonly string[];
      readonly replaces: boolean;
    }
  | { readonly do: 'update-directory'; readonly path: string }
  | { readonly do: 'mark' };

export interface TreeLimits {
  readonly maxEntries: number;
}

/** The tree as it grows. Each method that refuses throws `invalidArgument` naming the entry and the reason. */
export class LayerTree {
  readonly nodes = new Map<string, Node>([['', { kind: 'directory', mode: 0o755, mtime: 0 }]]);
  /** Directories that hide what lies below them. */
  readonly opaque = new Set<string>();
  /** Paths that are hidden; applied at the end, where nothing of the layer stands. */
  readonly whiteOuts = new Set<string>();
  readonly #limits: TreeLimits;
  #entries = 0;
  #namesBytes = 0;

  constructor(limits: TreeLimits) {
    this.#limits = limits;
  }

  /** Decides about the next entry; directories that are missing on the way are in the answer, from the top. */
  plan(entry: TarEntry): Action {
    this.#count(entry);
    const components = clean(entry.name, entry.name, 'its path');
    const base = components.at(-1) ?? '';
    const marked = components.slice(0, -1).find((name) => name.startsWith(WHITE_OUT));
    if (marked !== undefined) throw refuse(entry.name, `it lies below the mark ${showName(marked)}`);
    if (base.startsWith(WHITE_OUT)) return this.#planMark(entry, components, base);
    refuseSpecial(entry);
    if (components.length === 0) {
      if (entry.type === 'directory') return { do: 'update-directory', path: '' };
      throw refuse(entry.name, 'it would replace the layer itself');
    }
    const { path: parent, missing } = this.#parentOf(entry.name, components);
    const path = join(parent, base);
    if (isWhiteOutDevice(entry)) {
      this.whiteOuts.add(path);
      return { do: 'mark' };
    }
    const existing = this.nodes.get(path);
    if (entry.type === 'directory' && existing?.kind === 'directory') return { do: 'update-directory', path };
    const replaces = existing !== undefined;
    if (entry.type !== 'hardlink') return { do: 'make', path, missing, replaces };
    const to = this.#hardLinkTarget(entry);
    // A link to itself changes nothing, and must not remove what it links to.
    if (to === path || to.startsWith(`${path}/`)) throw refuse(entry.name, 'it is a hard link to itself');
    return { do: 'link', path, to, missing, replaces };
  }

  /** Forgets a path and everything below it. */
  remove(path: string): void {
    if (this.nodes.get(path)?.kind === 'directory') {
      const below = `${path}/`;
      for (const other of this.nodes.keys()) if (other.startsWith(below)) this.nodes.delete(other);
    }
    this.nodes.delete(path);
  }

  #count(entry: TarEntry): void {
    this.#entries += 1;
    this.#namesBytes += entry.name.length + entry.linkName.length;
    if (this.#entries > this.#limits.maxEntries) {
      throw refuse(entry.name, `the layer has more than ${this.#limits.maxEntries} entries`);
    }
    if (this.#namesBytes > MAX_NAMES_BYTES) {
      throw refuse(entry.name, `the names of the layer's entries are longer than ${MAX_NAMES_BYTES} bytes together`);
    }
  }

  #planMark(entry: TarEntry, components: readonly string[], base: string): Action {
    const { path: parent } = this.#parentOf(entry.name, components);
    if (base === OPAQUE) {
      this.opaque.add(parent);
      return { do: 'mark' };
    }
    // Other names of this form are notes of an old union file system to itself.
    if (base.startsWith('.wh..wh.')) return { do: 'mark' };
    const hidden = base.slice(WHITE_OUT.length);
    if (hidden === '' || hidden === '.' || hidden === '..') throw refuse(entry.name, 'it hides no name');
    this.whiteOuts.add(join(parent, hidden));
    return { do: 'mark' };
  }

  /** The real directory that the entry lies in, links followed inside of the layer. */
  #parentOf(name: string, components: readonly string[]): { readonly path: string; readonly missing: string[] } {
    const direct = components.slice(0, -1).join('/');
    if (this.nodes.get(direct)?.kind === 'directory') return { path: direct, missing: [] };
    return this.#walk(name, components.slice(0, -1));
  }

  #walk(name: string, components: readonly string[]): { readonly path: string; readonly missing: string[] } {
    const missing: string[] = [];
    const rest = [...components];
    let path = '';
    let followed = 0;
    while (rest.length > 0) {
      const component = rest.shift()!;
      if (component === '..') {
        if (path === '') throw refuse(name, 'its path runs through a symbolic link out of the layer');
        path = parentPath(path);
        continue;
      }
      const next = join(path, component);
      const node = this.nodes.get(next);
      if (node?.kind === 'symlink') {
        followed += 1;
        if (followed > MAX_LINKS_FOLLOWED) throw refuse(name, 'its path runs through too many symbolic links');
        if (node.target.startsWith('/')) {
          throw refuse(name, `its path runs through the symbolic link ${showName(next)} out of the layer`);
        }
        rest.unshift(...node.target.split('/').filter((part) => part !== '' && part !== '.'));
      } else if (node === undefined || node.kind === 'directory') {
        if (node === undefined) missing.push(next);
        path = next;
      } else {
        throw refuse(name, `its path runs through ${showName(next)}, which is no directory`);
      }
    }
    return { path, missing: [...new Set(missing)] };
  }

  #hardLinkTarget(entry: TarEntry): string {
    const components = clean(entry.linkName, entry.name, 'the target of its hard link');
    const base = components.at(-1);
    if (base !== undefined) {
      const { path: parent, missing } = this.#parentOf(entry.name, components);
      const target = join(parent, base);
      const node = this.nodes.get(target);
      if (missing.length === 0 && node && node.kind !== 'directory') return target;
    }
    throw refuse(
      entry.name,
      `it is a hard link to ${showName(entry.linkName)}, which is no file of the layer before it`,
    );
  }
}

/** A refusal of an archive because of one of its entries. */
export function refuse(name: string, because: string): AosError {
  return new AosError('invalidArgument', `entry ${showName(name)} of the layer is refused: ${because}`, {
    fields: { entry: Buffer.from(name, 'latin1').toString('utf8') },
  });
}

function refuseSpecial(entry: TarEntry): void {
  if (entry.type === 'block-device' || (entry.type === 'character-device' && !isWhiteOutDevice(entry))) {
    throw refuse(entry.name, `it is a device node (${entry.deviceMajor}:${entry.deviceMinor})`);
  }
  if (entry.type === 'sparse')
    throw refuse(entry.name, 'it is a sparse file in the form of GNU tar; pack it without --sparse');
  if (entry.type === 'other') throw refuse(entry.name, `it is of the unknown type ${JSON.stringify(entry.typeFlag)}`);
}

/** What an overlay takes for "nothing is here". */
function isWhiteOutDevice(entry: TarEntry): boolean {
  return entry.type === 'character-device' && entry.deviceMajor === 0 && entry.deviceMinor === 0;
}

/** The components of a path, `..` resolved. */
function clean(path: string, entry: string, what: string): string[] {
  if (path.length > MAX_PATH_BYTES) throw refuse(entry, `${what} is longer than ${MAX_PATH_BYTES} bytes`);
  if (path.startsWith('/')) throw refuse(entry, `${what} is absolute`);
  if (path.includes('\0')) throw refuse(entry, `${what} has a zero byte`);
  const components: string[] = [];
  for (const component of path.split('/')) {
    if (component === '' || component === '.') continue;
    if (component.length > MAX_NAME_BYTES)
      throw refuse(entry, `${what} has a name longer than ${MAX_NAME_BYTES} bytes`);
    if (component !== '..') components.push(component);
    else if (components.pop() === undefined) throw refuse(entry, `${what} leads out of the layer`);
  }
  return components;
}

function join(directory: string, name: string): string {
  return directory === '' ? name : `${directory}/${name}`;
}

/** The directory that a path lies in. */
export function parentPath(path: string): string {
  const slash = path.lastIndexOf('/');
  return slash < 0 ? '' : path.slice(0, slash);
}
