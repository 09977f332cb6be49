/** Lines of instances and of the system from the journal (spec/sm.md 10.2, spec/decisions.md C-84). */
import { AosError } from '../../core/index.ts';
import type { Journal, JournalEntry, JournalQuery } from '../../platform/journal/index.ts';
import { type LogLine, MAX_LINE_BYTES } from './log-file.ts';
import type { LogSource } from './log-provider.ts';

/** A journal that says nothing for so long hangs; the CM has told the cloud of it soon after. */
const SILENT_MS = 100_000;

export class JournalLogs implements LogSource {
  readonly #journal: Journal;
  readonly #cgroupOf: (instanceId: string) => string;
  readonly #signal: AbortSignal;
  readonly #silentMs: number;

  constructor(
    journal: Journal,
    cgroupOf: (instanceId: string) => string,
    signal: AbortSignal,
    silentMs: number = SILENT_MS,
  ) {
    this.#journal = journal;
    this.#cgroupOf = cgroupOf;
    this.#signal = signal;
    this.#silentMs = silentMs;
  }

  instances(ids: readonly string[], from?: Date, till?: Date): AsyncIterable<LogLine> {
    return wholeLines(this.#read({ matches: this.#matches(ids), from, till }, this.#signal));
  }

  follow(id: string, from: Date | undefined, signal: AbortSignal): AsyncIterable<LogLine> {
    const both = AbortSignal.any([signal, this.#signal]);
    return wholeLines(this.#read({ matches: this.#matches([id]), from, follow: true }, both));
  }

  async *system(from?: Date, till?: Date): AsyncGenerator<LogLine & { readonly unit: string }> {
    for await (const { at, message, fields } of this.#read({ matches: [], from, till }, this.#signal)) {
      yield { at, text: message, unit: fields._SYSTEMD_UNIT ?? '' };
    }
  }

  /** What twins' containers write has the cgroup, what conmon writes for ours the id. */
  #matches(ids: readonly string[]): string[][] {
    return ids.flatMap((id) => [[`_SYSTEMD_CGROUP=${this.#cgroupOf(id)}`], [`CONTAINER_ID_FULL=${id}`]]);
  }

  async *#read(query: JournalQuery, signal: AbortSignal): AsyncGenerator<JournalEntry> {
    for await (const entry of query.follow ? this.#journal.read(query, signal) : this.#readWithin(query, signal)) {
      if (query.till && entry.at > query.till) return;
      yield entry;
    }
  }

  /** Ends a journal that hangs: other requests wait for this one. Whoever reads may take all the time there is. */
  async *#readWithin(query: JournalQuery, signal: AbortSignal): AsyncGenerator<JournalEntry> {
    const hang = new AbortController();
    const entries = this.#journal.read(query, AbortSignal.any([signal, hang.signal]))[Symbol.asyncIterator]();
    const giveUp = () =>
      hang.abort(new AosError('timeout', `the journal says nothing for ${this.#silentMs / 1000} s; is it damaged?`));
    try {
      for (;;) {
        const timer = setTimeout(giveUp, this.#silentMs);
        const { value, done } = await entries.next().finally(() => clearTimeout(timer));
        if (done) return;
        yield value;
      }
    } finally {
      await entries.return?.();
    }
  }
}

/** conmon writes a long line as several entries, which all but the last are marked. */
async function* wholeLines(entries: AsyncIterable<JournalEntry>): AsyncGenerator<LogLine> {
  const pieces = new Map<string, string>();
  for await (const { at, message, fields } of entries) {
    const id = fields.CONTAINER_ID_FULL ?? '';
    const text = ((pieces.get(id) ?? '') + message).slice(0, MAX_LINE_BYTES);
    if (fields.CONTAINER_PARTIAL_MESSAGE === 'true') {
      pieces.set(id, text);
      continue;
    }
    pieces.delete(id);
    // Some versions of conmon leave the end of the line in the message.
    for (const line of text.replace(/\n$/, '').split('\n')) yield { at, text: line };
  }
}
