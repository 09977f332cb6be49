/** Mounts as plain data, and how the helper `mount` wants to read them. Pure. */
import { AosError } from '../../core/index.ts';

/** One mount of the host. */
export interface HostMount {
  /** Absolute, and it must exist. */
  readonly target: string;
  /** `overlay`, or `none` for a bind mount. */
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

/** What is mounted, from the kernel's own list. */
export interface MountedEntry {
  readonly target: string;
  readonly type: string;
  readonly source: string;
}

/** The kernel takes the options of a mount in one page, with its end mark. */
const MAX_DATA_BYTES = 4095;

const LOWER_DIRECTORIES = 'lowerdir=';

/** What an image or an instance may do with a directory of the host or of a layer. */
const READ_ONLY = ['ro', 'nosuid', 'nodev'];

/**
 * Options of a read-only overlay of lower directories, the topmost first.
 * Throws `invalidArgument` for a path that the kernel would cut in two, `outOfRange` when they do not fit.
 */
export function overlayOptions(lowerDirectories: readonly string[]): string[] {
  for (const path of lowerDirectories) {
    const found = /[:,\\"\n]/.exec(path)?.[0];
    if (found !== undefined) {
      throw new AosError(
        'invalidArgument',
        `"${path}" cannot be a layer: its path contains ${JSON.stringify(found)}, which separates layers and options; use another directory`,
      );
    }
  }
  const data = LOWER_DIRECTORIES + lowerDirectories.join(':');
  if (!fitsOverlay(lowerDirectories)) {
    throw new AosError(
      'outOfRange',
      `${lowerDirectories.length} layers with paths like ${lowerDirectories[0]} need ${Buffer.byteLength(data)} bytes of mount options, at most ${MAX_DATA_BYTES} are possible; use shorter directories`,
    );
  }
  return [...READ_ONLY, data];
}

/** True when the kernel takes that many paths. */
export function fitsOverlay(lowerDirectories: readonly string[]): boolean {
  return Buffer.byteLength(LOWER_DIRECTORIES + lowerDirectories.join(':')) <= MAX_DATA_BYTES;
}

/** A read-only overlay of lower directories, the topmost first; see `overlayOptions`. */
export function overlayMount(target: string, lowerDirectories: readonly string[]): HostMount {
  return { target, type: 'overlay', source: 'overlay', options: overlayOptions(lowerDirectories) };
}

/** A read-only view of a directory or file, without what is mounted below it. */
export function readOnlyBind(target: string, source: string): HostMount {
  return { target, type: 'none', source, options: ['bind', ...READ_ONLY] };
}

/** One line of a file system table. Throws `invalidArgument` for what such a line cannot hold. */
export function fstabLine(mount: HostMount): string {
  const fields = [mount.source, mount.target, mount.type, mount.options.join(',')];
  for (const field of fields) {
    if (field === '' || field.includes('\n')) {
      throw new AosError('invalidArgument', `cannot mount ${mount.target}: ${JSON.stringify(field)} is no valid field`);
    }
  }
  return `${fields.map(escapeField).join(' ')} 0 0`;
}

function escapeField(text: string): string {
  return text.replace(/[\s\\#]/g, (character) => `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** Reads `/proc/self/mountinfo` (proc(5)). */
export function parseMountInfo(text: string): MountedEntry[] {
  const entries: MountedEntry[] = [];
  for (const line of text.split('\n')) {
    const [left, right] = line.split(' - ', 2);
    const target = left?.split(' ')[4];
    const [type, source] = right?.split(' ') ?? [];
    if (target === undefined || type === undefined) continue;
    entries.push({ target: unescapeField(target), type, source: unescapeField(source ?? '') });
  }
  return entries;
}

function unescapeField(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
