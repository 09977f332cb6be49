/** The system journal, as `journalctl` shows it: entries as JSON, one a line, read as they come. */
import { spawn } from 'node:child_process';
import { AosError, boundedLines, isObject } from '../../core/index.ts';

const MAX_WORDS = 400;
/** Longest entry that is read as JSON; journald itself splits what programs write at 48 KiB. */
const MAX_ENTRY_BYTES = 1024 * 1024;

/** What is asked for: an entry may carry megabytes in others, such as the image of a crashed process. */
const FIELDS = [
  ...['MESSAGE', 'PRIORITY', 'UNIT', '_SYSTEMD_UNIT', '_SYSTEMD_CGROUP'],
  ...['CONTAINER_ID_FULL', 'CONTAINER_PARTIAL_MESSAGE'],
];

/** Fields that are read here; a field that is there several times counts with its first value. */
export interface JournalEntry {
  readonly at: Date;
  readonly cursor: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, string>>;
}

export interface JournalQuery {
  /** Groups of `FIELD=value` that all hold; an entry of any group is meant. None: every entry. */
  readonly matches: readonly (readonly string[])[];
  readonly from?: Date | undefined;
  readonly till?: Date | undefined;
  /** Goes on with what comes later. */
  readonly follow?: boolean;
  /** Begins behind the entry of this cursor. */
  readonly afterCursor?: string | undefined;
  /** Without a cursor: only what comes from now on. */
  readonly fromNow?: boolean;
}

export interface Journal {
  /** Throws `runtime` with the program's own words. */
  read(query: JournalQuery, signal: AbortSignal): AsyncIterable<JournalEntry>;
}

export class HostJournal implements Journal {
  readonly #program: string;

  constructor(program = 'journalctl') {
    this.#program = program;
  }

  async *read(query: JournalQuery, signal: AbortSignal): AsyncGenerator<JournalEntry> {
    const child = spawn(this.#program, journalArguments(query), { stdio: ['ignore', 'pipe', 'pipe'], signal });
    let words = '';
    let failure: Error | undefined;
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      words = (words + chunk).slice(0, MAX_WORDS);
    });
    const ended = new Promise<number | null>((resolve) => {
      child.once('error', (error) => {
        failure = error;
        resolve(null);
      });
      child.once('close', (code) => resolve(code));
    });
    try {
      for await (const line of boundedLines(child.stdout, MAX_ENTRY_BYTES)) {
        const entry = parseJournalLine(line);
        if (entry) yield entry;
      }
      const code = await ended;
      signal.throwIfAborted();
      if (failure || code !== 0) {
        throw new AosError('runtime', `${this.#program}: ${failure?.message ?? words.trim()}`, { exitCode: code ?? 0 });
      }
    } finally {
      child.kill('SIGKILL');
    }
  }
}

/** Arguments of journalctl. Pure. */
export function journalArguments(query: JournalQuery): string[] {
  const { matches, from, till, follow = false, afterCursor, fromNow = false } = query;
  const seconds = (at: Date) => `@${(at.getTime() / 1000).toFixed(6)}`;
  return [
    ...['--output=json', '--all', '--no-pager', '--quiet', '--merge', `--output-fields=${FIELDS.join(',')}`],
    ...(from ? [`--since=${seconds(from)}`] : []),
    ...(till ? [`--until=${seconds(till)}`] : []),
    ...(follow ? ['--follow', ...(afterCursor === undefined && fromNow ? ['--lines=0'] : ['--no-tail'])] : []),
    ...(afterCursor === undefined ? [] : [`--after-cursor=${afterCursor}`]),
    ...matches.flatMap((group, index) => (index === 0 ? group : ['+', ...group])),
  ];
}

/** One line of the JSON form; undefined for an entry without a text or a time. */
export function parseJournalLine(line: string): JournalEntry | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    // A line that the end of the program cut short, or our own bound.
    return undefined;
  }
  if (!isObject(value)) return undefined;
  const fields = Object.fromEntries(Object.entries(value).map(([name, content]) => [name, textOf(content)]));
  const { MESSAGE, __REALTIME_TIMESTAMP: microseconds, __CURSOR: cursor = '' } = fields;
  const at = new Date(Number(microseconds) / 1000);
  // A damaged journal may give an entry any time, also one that is none.
  if (MESSAGE === undefined || Number.isNaN(at.getTime())) return undefined;
  return { at, cursor, message: MESSAGE, fields };
}

/** Bytes that are no text come as a list of numbers, repeated fields as a list of texts. */
function textOf(content: unknown): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return content === null ? '' : String(content);
  return typeof content[0] === 'number' ? Buffer.from(content as number[]).toString() : textOf(content[0] ?? '');
}
