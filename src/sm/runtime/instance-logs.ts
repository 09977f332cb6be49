/**
 * Output of instances on hosts without a journal: a ring of two files each (spec/decisions.md 5.2).
 *
 * conmon begins a new file when `<id>.log` is full and drops the old one. A second name for the old one keeps it:
 * `<id>.log.keep` always names the file that `<id>.log` names; when they differ, that is new, and what the second names
 * becomes `<id>.log.1`.
 */
import { existsSync, linkSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { asAosError } from '../../core/index.ts';

const DAY_MS = 86_400_000;
/** Logs of instances that this node no longer has. */
const KEPT_LOGS = 64;
const KEPT_FOR_MS = 7 * DAY_MS;

/** The older one of the two files. */
export function previousLogFile(logFile: string): string {
  return `${logFile}.1`;
}

/**
 * All names that the log may have, the oldest first. When conmon has begun a new file and nobody has looked since, the one
 * before it has the second name alone.
 */
export function logFilesOf(logFile: string): readonly string[] {
  return [previousLogFile(logFile), `${logFile}.keep`, logFile];
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino;
}

/** Keeps the file that conmon has just left, if it has. Cheap when nothing happened; nothing when there is no log. */
export function keepPreviousLog(logFile: string): void {
  const kept = `${logFile}.keep`;
  const current = inodeOf(logFile);
  const known = inodeOf(kept);
  if (current === undefined || current === known) return;
  try {
    if (known !== undefined) renameSync(kept, previousLogFile(logFile));
    linkSync(logFile, kept);
  } catch (error) {
    throw asAosError(error, `cannot keep the log ${logFile}`);
  }
}

/** All in one directory: making one for each instance is dear on most file systems. */
export class InstanceLogs {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  file(id: string): string {
    return join(this.#directory, `${id}.log`);
  }

  /** Makes place for logs of instances that are to start. */
  prepare(): void {
    if (!existsSync(this.#directory)) mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
  }

  /** The instance is gone for good. */
  forget(id: string): void {
    // Versions before had a directory for each.
    const former = join(this.#directory, id);
    for (const path of [...logFilesOf(this.file(id)), former]) rmSync(path, { recursive: true, force: true });
  }

  /** Removes logs of instances that are not known any more, except the newest ones. */
  async prune(known: ReadonlySet<string>, now: Date): Promise<void> {
    const names = await readdir(this.#directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw asAosError(error, 'cannot list the logs of instances');
    });
    const ids = new Set(names.map((name) => name.replace(/\..*/, '')));
    const strangers = await Promise.all(
      [...ids]
        .filter((id) => !known.has(id))
        .map(async (id) => ({
          id,
          at: await stat(this.file(id)).then(
            ({ mtimeMs }) => mtimeMs,
            () => 0,
          ),
        })),
    );
    const newestFirst = strangers.sort((a, b) => b.at - a.at);
    for (const [index, { id, at }] of newestFirst.entries()) {
      if (index < KEPT_LOGS && now.getTime() - at < KEPT_FOR_MS) continue;
      this.forget(id);
    }
  }
}
