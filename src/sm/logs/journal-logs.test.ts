import { expect, test } from 'vitest';
import { AosError, silentLogger } from '../../core/index.ts';
import type { Journal, JournalEntry, JournalQuery } from '../../platform/journal/index.ts';
import { JournalLogs } from './journal-logs.ts';
import { LogProvider } from './log-provider.ts';

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 12, 0, second));
const entry = (second: number, message: string, fields: Record<string, string> = {}): JournalEntry => ({
  ...{ at: at(second), cursor: `c${second}`, message },
  fields: { CONTAINER_ID_FULL: 'a', ...fields },
});

let asked: JournalQuery | undefined;
function logs(...entries: JournalEntry[]): JournalLogs {
  const journal: Journal = {
    async *read(query) {
      asked = query;
      yield* entries;
    },
  };
  return new JournalLogs(journal, (id) => `/services/${id}`, new AbortController().signal);
}

async function texts(lines: AsyncIterable<{ readonly text: string }>): Promise<string[]> {
  const read: string[] = [];
  for await (const { text } of lines) read.push(text);
  return read;
}

test('[SM-55] entries are asked for by the cgroup of a twin and by the id of the container', async () => {
  await texts(logs().instances(['a'], at(1), at(2)));
  expect(asked).toEqual({
    matches: [['_SYSTEMD_CGROUP=/services/a'], ['CONTAINER_ID_FULL=a']],
    ...{ from: at(1), till: at(2) },
  });
});

test('[SM-55] a line is a line, whether or not conmon left its end in the message', async () => {
  const found = logs(entry(1, 'one'), entry(2, 'two\n'), entry(3, '\n'), entry(4, 'a\nb'));
  expect(await texts(found.instances(['a']))).toEqual(['one', 'two', '', 'a', 'b']);
});

test('pieces of a long line are put together, for each container on its own', async () => {
  const part = { CONTAINER_PARTIAL_MESSAGE: 'true' };
  const found = logs(
    entry(1, 'be', part),
    entry(2, 'other', { CONTAINER_ID_FULL: 'b' }),
    entry(3, 'gin\n'),
    entry(4, 'x'.repeat(60_000), part),
    entry(5, 'x'.repeat(60_000)),
  );
  const [other, begin, long] = await texts(found.instances(['a', 'b']));
  expect([other, begin, long?.length]).toEqual(['other', 'begin', 65_536]);
});

test('[SM-54] the log of the system ends with the time that was asked for, and names units', async () => {
  const found = logs(entry(1, 'one', { _SYSTEMD_UNIT: 'a.service' }), entry(9, 'late'));
  const lines: object[] = [];
  for await (const line of found.system(at(0), at(5))) lines.push(line);
  expect(lines).toEqual([{ at: at(1), text: 'one', unit: 'a.service' }]);
});

test('[SM-54] a journal that is corrupt or hangs is told in words, and the next request is answered as ever', async () => {
  const reads: ((signal: AbortSignal) => AsyncIterable<JournalEntry>)[] = [
    async function* () {
      yield entry(1, 'one');
      throw new AosError('runtime', 'journalctl: Bad message');
    },
    async function* (signal) {
      yield entry(1, 'one');
      await new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    },
    async function* () {
      yield entry(2, 'two');
    },
  ];
  const journal: Journal = { read: (_, signal) => reads.shift()!(signal) };
  const told: string[] = [];
  const provider = new LogProvider({
    ...{ maxPartSize: 262_144, maxPartCount: 80 },
    instances: () => [],
    source: new JournalLogs(journal, (id) => id, new AbortController().signal, 1),
    send: ({ value }) => {
      const { correlationId, status, error } = value as { correlationId: string; status: string; error: Error };
      told.push(`${correlationId} ${status} ${error.message}`);
    },
    logger: silentLogger,
  });
  for (const correlationId of ['corrupt', 'hangs', 'whole']) {
    provider.request({ kind: 'system', correlationId, filter: {} });
  }
  provider.start();
  await provider.stop();
  expect(told).toEqual([
    'corrupt error journalctl: Bad message',
    'hangs error the journal says nothing for 0.001 s; is it damaged?',
    'whole ok ',
  ]);
});
