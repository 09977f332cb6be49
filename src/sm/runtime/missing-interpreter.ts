/**
 * Why the kernel could not run the first process of a container although its file is there: the interpreter of a script, or
 * the loader of a program, is not. Container runtimes say no more than an exit code, and a line in the log of the instance.
 */
import { closeSync, lstatSync, openSync, readFileSync, readlinkSync, readSync, realpathSync } from 'node:fs';
import { join, normalize, resolve } from 'node:path';
import type { OciConfig } from '../../platform/oci-runtime/index.ts';

/** What a container runtime answers when the kernel refuses to run the file; 126 and 127 by the custom of shells. */
const STATUS_OF_REFUSAL = new Set([1, 126, 127]);
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const MAX_LINKS = 40;
/** A script may be interpreted by a program whose loader is missing. */
const MAX_STEPS = 4;
const HEAD_BYTES = 4096;
const ELF_INTERPRETER = 3;

/** `/app needs /bin/bash, which is not there`; undefined when that is not the reason. */
export function missingInterpreter(bundleDir: string, status: number): string | undefined {
  if (!STATUS_OF_REFUSAL.has(status)) return undefined;
  try {
    const inside = new InsideView(JSON.parse(readFileSync(join(bundleDir, 'config.json'), 'utf8')) as OciConfig);
    let path = inside.command();
    for (let step = 0; path !== undefined && step < MAX_STEPS; step += 1) {
      const file = inside.find(path);
      const interpreter = file === undefined ? undefined : interpreterOf(headOf(file));
      if (interpreter === undefined) return undefined;
      if (inside.find(interpreter) === undefined) return `${path} needs ${interpreter}, which is not there`;
      path = interpreter;
    }
  } catch {
    // What cannot be read explains nothing; the exit code is told then.
  }
  return undefined;
}

/** Paths as the first process sees them, found on the host. */
class InsideView {
  readonly #root: string;
  readonly #mounts: readonly { readonly destination: string; readonly source: string }[];
  readonly #process: OciConfig['process'];

  constructor({ root, mounts, process }: OciConfig) {
    this.#root = root.path;
    this.#process = process;
    this.#mounts = mounts
      .filter(({ type, options = [] }) => type === 'bind' || options.some((option) => /^r?bind$/.test(option)))
      .map(({ destination, source }) => ({ destination: normalize(destination), source: realpathSync(source) }))
      // The deepest destination first, of equals the last one that was mounted.
      .toReversed()
      .toSorted((a, b) => b.destination.length - a.destination.length);
  }

  /** The file that is run, by its path inside. */
  command(): string | undefined {
    const { args, env, cwd } = this.#process;
    const [word = ''] = args;
    if (word.includes('/')) return resolve(cwd, word);
    const search = env.findLast((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? DEFAULT_PATH;
    return search
      .split(':')
      .map((directory) => join(directory, word))
      .find((path) => this.find(path) !== undefined);
  }

  /** Where a file lies on the host, links followed as inside; undefined: it is not there. */
  find(path: string): string | undefined {
    let rest = normalize(path).split('/').filter(Boolean);
    let at = '/';
    for (let links = 0; rest.length > 0; ) {
      const [name = '', ...others] = rest;
      const next = join(at, name);
      const target = linkOrExists(this.#onHost(next));
      if (target === false) return undefined;
      if (target === true) {
        at = next;
        rest = others;
        continue;
      }
      links += 1;
      if (links > MAX_LINKS) return undefined;
      rest = [...resolve(at, target).split('/').filter(Boolean), ...others];
      at = '/';
    }
    return this.#onHost(at);
  }

  #onHost(path: string): string {
    const mount = this.#mounts.find(({ destination }) => path === destination || path.startsWith(`${destination}/`));
    return mount ? join(mount.source, path.slice(mount.destination.length)) : join(this.#root, path);
  }
}

/** What a link points to; otherwise whether something is there. */
function linkOrExists(path: string): string | boolean {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : true;
  } catch {
    // Whatever cannot be looked at cannot be run either.
    return false;
  }
}

function headOf(path: string): Buffer {
  const file = openSync(path, 'r');
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    return head.subarray(0, readSync(file, head));
  } finally {
    closeSync(file);
  }
}

/** The interpreter of a script, or the loader of a 64-bit little-endian program; undefined: it needs none. */
export function interpreterOf(head: Buffer): string | undefined {
  if (head.subarray(0, 2).toString('latin1') === '#!') {
    return /^#![ \t]*(\S+)/.exec(head.toString('latin1'))?.[1];
  }
  const isElf = head.length >= 64 && head.readUInt32BE(0) === 0x7f454c46 && head[4] === 2 && head[5] === 1;
  if (!isElf) return undefined;
  const [table, size, count] = [Number(head.readBigUInt64LE(32)), head.readUInt16LE(54), head.readUInt16LE(56)];
  for (let at = table; at < table + size * count && at + 40 <= head.length; at += size) {
    if (head.readUInt32LE(at) !== ELF_INTERPRETER) continue;
    const offset = Number(head.readBigUInt64LE(at + 8));
    const text = head.subarray(offset, offset + Number(head.readBigUInt64LE(at + 32)));
    return text.toString('latin1').replace(/\0.*$/s, '') || undefined;
  }
  return undefined;
}
