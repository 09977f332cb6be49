/** Output of containers as conmon keeps it in files: `<time> <stream> <P or F> <text>` a line. */
import { watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { asAosError, BoundedLine } from '../../core/index.ts';

export interface LogLine {
  readonly at: Date;
  readonly text: string;
}

/** Longest line that is read; the rest of a longer one is left out. */
export const MAX_LINE_BYTES = 65_536;
const CHUNK_BYTES = 65_536;
/** Following listens to changes of the file; this only catches one that the kernel did not tell. */
const LOOK_AGAIN_MS = 5_000;

const LINE = /^(\S+) (?:stdout|stderr) ([PF])(?: (.*))?$/s;

/** One line of the file, or undefined for one that a crash cut short. `isWhole` is false for a piece of a long line. */
export function parseLogLine(line: string): (LogLine & { readonly isWhole: boolean }) | undefined {
  const match = LINE.exec(line);
  const at = new Date(match?.[1] ?? '');
  if (!match || Number.isNaN(at.getTime())) return undefined;
  return { at, text: match[3] ?? '', isWhole: match[2] === 'F' };
}

/** Bytes into lines of the log: pieces are put together, what is no line is left out, nothing grows without bound. */
class LineReader {
  readonly #lines = new BoundedLine(MAX_LINE_BYTES);
  #pieces = '';

  *push(chunk: Uint8Array): Generator<LogLine> {
    for (const line of this.#lines.push(chunk)) {
      const parsed = parseLogLine(line);
      if (!parsed) continue;
      this.#pieces = (this.#pieces + parsed.text).slice(0, MAX_LINE_BYTES);
      if (!parsed.isWhole) continue;
      yield { at: parsed.at, text: this.#pieces };
      this.#pieces = '';
    }
  }
}

/**
 * The lines of an instance's files, the oldest file first, that lie between two moments, both included. A file that is
 * not there has none, and one that has two names is read once. Pieces of a line may lie in two files.
 */
export async function* readLogFiles(paths: readonly string[], from?: Date, till?: Date): AsyncGenerator<LogLine> {
  const files = await openAll(paths);
  try {
    yield* between(linesOf(files, new LineReader()), from, till);
  } finally {
    for (const { handle } of files) await handle.close();
  }
}

/** As `readLogFiles`, and goes on with what is written until the signal aborts, also into a new file of the same name. */
export async function* followLogFiles(
  paths: readonly string[],
  from: Date | undefined,
  signal: AbortSignal,
): AsyncGenerator<LogLine> {
  yield* between(follow(paths, signal), from, undefined);
}

async function* follow(paths: readonly string[], signal: AbortSignal): AsyncGenerator<LogLine> {
  const current = paths.at(-1);
  if (current === undefined) return;
  const changes = new Changes(dirname(current), signal);
  const reader = new LineReader();
  let files = await openAll(paths);
  try {
    yield* linesOf(files, reader);
    for (;;) {
      // Only the newest file grows; its predecessors have been read.
      for (const { handle } of files.slice(0, -1)) await handle.close();
      files = files.slice(-1);
      await changes.next();
      if (signal.aborted) return;
      yield* linesOf(files, reader);
      const inode = await stat(current).then(
        ({ ino }) => ino,
        () => undefined,
      );
      if (inode === undefined || inode === files[0]?.inode) continue;
      // What was written between the look and the change of files is read before the new file is.
      yield* linesOf(files, reader);
      for (const { handle } of files) await handle.close();
      files = await openAll([current]);
      yield* linesOf(files, reader);
    }
  } finally {
    changes.close();
    for (const { handle } of files) await handle.close();
  }
}

interface OpenFile {
  readonly inode: number;
  readonly handle: FileHandle;
}

/** All are opened before any is read, so that files that change their names meanwhile are neither missed nor read twice. */
async function openAll(paths: readonly string[]): Promise<OpenFile[]> {
  const files: OpenFile[] = [];
  for (const path of paths) {
    let handle: FileHandle;
    try {
      handle = await open(path);
    } catch (error) {
      const failure = asAosError(error, `cannot read the log ${path}`);
      if (failure.code === 'notFound') continue;
      for (const file of files) await file.handle.close();
      throw failure;
    }
    const { ino } = await handle.stat();
    const twin = files.findIndex(({ inode }) => inode === ino);
    // The later name tells its place.
    if (twin >= 0) for (const { handle: other } of files.splice(twin, 1)) await other.close();
    files.push({ inode: ino, handle });
  }
  return files;
}

/** Everything from where the files were read to. */
async function* linesOf(files: readonly OpenFile[], reader: LineReader): AsyncGenerator<LogLine> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  for (const { handle } of files) {
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0) break;
      yield* reader.push(buffer.subarray(0, bytesRead));
    }
  }
}

/** A clock that was set back makes later lines look earlier: reading ends at the end, not at the first late line. */
async function* between(lines: AsyncIterable<LogLine>, from?: Date, till?: Date): AsyncGenerator<LogLine> {
  for await (const line of lines) {
    if ((!from || line.at >= from) && (!till || line.at <= till)) yield line;
  }
}

/** News of a directory; news that nobody waits for is remembered once. */
class Changes {
  readonly #signal: AbortSignal;
  readonly #watcher: ReturnType<typeof watch> | undefined;
  #isNew = false;
  #wake: () => void = () => undefined;

  constructor(directory: string, signal: AbortSignal) {
    this.#signal = signal;
    try {
      this.#watcher = watch(directory, () => this.#tell());
      // The directory went away: the next look shows what is there.
      this.#watcher.on('error', () => this.#tell());
    } catch {
      // There is no directory yet, or no watch is left on this host: it is looked at now and then.
      this.#watcher = undefined;
    }
    signal.addEventListener('abort', this.#tell, { once: true });
  }

  /** Resolves with the next change, at the abort, or after a while. */
  async next(): Promise<void> {
    if (this.#isNew || this.#signal.aborted) {
      this.#isNew = false;
      return;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, LOOK_AGAIN_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => undefined;
    this.#isNew = false;
  }

  close(): void {
    this.#watcher?.close();
    this.#signal.removeEventListener('abort', this.#tell);
    this.#tell();
  }

  readonly #tell = (): void => {
    this.#isNew = true;
    this.#wake();
  };
}

/** `20261125T…` without marks, as twins write the time of a line: YYYYMMDDhhmmssZ. */
export function formatLogTime(at: Date): string {
  return `${at.toISOString().slice(0, 19).replaceAll(/[-:T]/g, '')}Z`;
}
