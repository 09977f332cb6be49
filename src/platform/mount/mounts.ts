/** Mounting and unmounting on the host; one call of a helper for any number of mounts (spec/sm.md 5.4). */
import { closeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { AosError, asAosError, type Clock, faultPoint, systemClock, throwIfCanceled } from '../../core/index.ts';
import { loadedLibc } from '../libc/index.ts';
import { type ExecResult, OWN_CHILDREN, type Programs, quote } from '../program/index.ts';
import { fstabLine, type HostMount, type MountedEntry, parseMountInfo } from './host-mount.ts';

/** Bound of one call (spec/decisions.md 8.2). */
const MOUNT_TIMEOUT_MS = 10_000;
/** Ways to unmount, from polite to certain; a detached mount is gone for everyone who looks now. */
const UNMOUNT_WAYS = [[], ['-f'], ['-l']] as const;
const UNMOUNT_PAUSE_MS = 250;
/** What a shell answers for a program that it does not find. */
const NOT_INSTALLED = 127;

/** Outcome of each request, in their order: undefined when it is done. */
export type Outcomes = readonly (AosError | undefined)[];

/** The mounts of a host. */
export interface Mounts {
  /** Mounts all that it can; a failure of one does not stop the others. Throws `canceled` and `timeout` only. */
  mountAll(mounts: readonly HostMount[], signal: AbortSignal): Promise<Outcomes>;
  /** Unmounts all, also when mounted several times; what is not mounted is no error. */
  unmountAll(targets: readonly string[], signal: AbortSignal): Promise<Outcomes>;
  /** What is mounted at or below a directory. */
  listBelow(directory: string): Promise<MountedEntry[]>;
}

/** The host's mounts by util-linux. */
export class HostMounts implements Mounts {
  readonly #clock: Clock;
  readonly #programs: Programs;

  constructor(clock: Clock = systemClock, programs: Programs = OWN_CHILDREN) {
    this.#clock = clock;
    this.#programs = programs;
  }

  async mountAll(mounts: readonly HostMount[], signal: AbortSignal): Promise<Outcomes> {
    throwIfCanceled(signal);
    if (mounts.length === 0) return [];
    const lines = mounts.map((mount) => {
      try {
        return fstabLine(mount);
      } catch (error) {
        return asAosError(error);
      }
    });
    const table = lines.filter((line) => typeof line === 'string').join('\n');
    // The helper does not read a table from a pipe, and a file on a disk would stay when we are killed.
    const file = loadedLibc().sealedFile('aos-mounts', Buffer.from(`${table}\n`));
    try {
      faultPoint('platform.mount.mount');
      const path = `/proc/${process.pid}/fd/${file}`;
      const { exitCode, output } = await this.#run(['mount', '--all', '--fstab', path], signal);
      faultPoint('platform.mount.mounted');
      const mounted = exitCode === 0 ? undefined : await this.#targets();
      return mounts.map((mount, index) => {
        const line = lines[index];
        if (line instanceof AosError) return line;
        return !mounted || mounted.has(mount.target) ? undefined : mountError(mount, output);
      });
    } finally {
      closeSync(file);
    }
  }

  async unmountAll(targets: readonly string[], signal: AbortSignal): Promise<Outcomes> {
    let output = '';
    let left = await this.#mountedOf(targets);
    for (const way of UNMOUNT_WAYS) {
      // A target that was mounted over itself comes once for each mount.
      while (left.length > 0) {
        faultPoint('platform.mount.unmount');
        output = (await this.#run(['umount', ...way, '--', ...left], signal)).output;
        const before = left.length;
        left = await this.#mountedOf(left);
        if (left.length === before) break;
      }
      if (left.length === 0) break;
      if (way !== UNMOUNT_WAYS.at(-1)) await this.#clock.sleep(UNMOUNT_PAUSE_MS, signal);
    }
    const remaining = new Set(left);
    return targets.map((target) =>
      remaining.has(target)
        ? new AosError('runtime', `cannot unmount ${target}: ${firstLine(output, target)}`)
        : undefined,
    );
  }

  async listBelow(directory: string): Promise<MountedEntry[]> {
    const entries = parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
    return entries.filter(({ target }) => target === directory || target.startsWith(`${directory}/`));
  }

  /** Some of what was asked for may have failed. Throws when the helper itself did, `notFound` when it is not installed. */
  async #run(words: readonly string[], signal: AbortSignal): Promise<ExecResult> {
    const result = await this.#programs.run(words, { signal, timeoutMs: MOUNT_TIMEOUT_MS });
    const { exitCode, output } = result;
    // Below it stand the bits by which mount and umount say what failed (mount(8)).
    if (exitCode >= 0 && exitCode < NOT_INSTALLED) return result;
    const code = exitCode === NOT_INSTALLED ? 'notFound' : 'runtime';
    throw new AosError(code, `${words[0]}: exit=${exitCode}: ${quote(output) || 'it said nothing'}`, { exitCode });
  }

  async #targets(): Promise<Set<string>> {
    return new Set(parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8')).map(({ target }) => target));
  }

  /** The targets that are mounted, once for each mount. */
  async #mountedOf(targets: readonly string[]): Promise<string[]> {
    const wanted = new Set(targets);
    const entries = parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
    return entries.map(({ target }) => target).filter((target) => wanted.has(target));
  }
}

function mountError(mount: HostMount, output: string): AosError {
  return new AosError('runtime', `cannot mount ${mount.target}: ${firstLine(output, mount.target)}`, {
    fields: { target: mount.target, source: mount.source },
  });
}

/** The helper's own words about one target. */
function firstLine(output: string, target: string): string {
  const lines = output.split('\n');
  const own = lines.find((line) => line.includes(`${target}:`)) ?? lines[0];
  return (
    own
      ?.replace(/^u?mount: /, '')
      .replace(`${target}: `, '')
      .trim() || 'the helper said nothing'
  );
}
