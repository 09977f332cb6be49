/** Where lines come from on this host: the journal, or the files of conmon where there is none. */
import { existsSync } from 'node:fs';
import { AosError } from '../../core/index.ts';
import { followLogFiles, type LogLine, readLogFiles } from './log-file.ts';
import type { LogSource } from './log-provider.ts';

const JOURNAL_SOCKET = '/run/systemd/journal/socket';

/** Files alone: hosts without a journal. */
export class LogFiles implements LogSource {
  readonly #filesOf: (instanceId: string) => readonly string[];

  /** `filesOf` names the files of an instance, the oldest first. */
  constructor(filesOf: (instanceId: string) => readonly string[]) {
    this.#filesOf = filesOf;
  }

  /** Lines of several instances are merged by their time. */
  async *instances(ids: readonly string[], from?: Date, till?: Date): AsyncGenerator<LogLine> {
    const heads = ids.map((id) => readLogFiles(this.#filesOf(id), from, till));
    const next = await Promise.all(heads.map((head) => head.next()));
    try {
      for (;;) {
        let first = -1;
        for (const [index, { value, done }] of next.entries()) {
          if (done) continue;
          if (first < 0 || (value as LogLine).at < (next[first]!.value as LogLine).at) first = index;
        }
        if (first < 0) return;
        yield next[first]!.value as LogLine;
        next[first] = await heads[first]!.next();
      }
    } finally {
      await Promise.all(heads.map((head) => head.return(undefined)));
    }
  }

  follow(id: string, from: Date | undefined, signal: AbortSignal): AsyncIterable<LogLine> {
    return followLogFiles(this.#filesOf(id), from, signal);
  }

  // biome-ignore lint/correctness/useYield: it has nothing to yield, and says so when it is asked
  async *system(): AsyncGenerator<never> {
    throw new AosError('notSupported', 'this node has no journal');
  }
}

export function hasJournal(): boolean {
  return existsSync(JOURNAL_SOCKET);
}
