import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { HostJournal, type JournalEntry, type JournalQuery, journalArguments, parseJournalLine } from './journal.ts';

const line = (fields: object) =>
  JSON.stringify({ __REALTIME_TIMESTAMP: '1700000000123456', __CURSOR: 's=1', MESSAGE: 'hello', ...fields });

describe('arguments of journalctl', () => {
  test('alternatives of fields, times to the microsecond, a cursor to go on from', () => {
    const query: JournalQuery = {
      matches: [['PRIORITY=0', 'PRIORITY=1'], ['_SYSTEMD_UNIT=init.scope']],
      from: new Date(1_700_000_000_500),
      till: new Date(1_700_000_001_000),
      follow: true,
      afterCursor: 's=9',
    };
    expect(journalArguments(query).slice(6)).toEqual([
      ...['--since=@1700000000.500000', '--until=@1700000001.000000', '--follow', '--no-tail', '--after-cursor=s=9'],
      ...['PRIORITY=0', 'PRIORITY=1', '+', '_SYSTEMD_UNIT=init.scope'],
    ]);
  });

  test('without a cursor following begins at the end when that is asked for', () => {
    expect(journalArguments({ matches: [], follow: true, fromNow: true }).slice(6)).toEqual(['--follow', '--lines=0']);
  });
});

describe('entries', () => {
  test('time, cursor and text are read', () => {
    expect(parseJournalLine(line({ PRIORITY: '3' }))).toMatchObject({
      ...{ at: new Date(1_700_000_000_123.456), cursor: 's=1', message: 'hello' },
      fields: { PRIORITY: '3' },
    });
  });

  test('bytes and repeated fields are read as text; an entry without a text or a time, and half a line, are left out', () => {
    expect(parseJournalLine(line({ MESSAGE: [104, 105] }))?.message).toBe('hi');
    expect(parseJournalLine(line({ UNIT: ['a', 'b'] }))?.fields.UNIT).toBe('a');
    expect(parseJournalLine(line({ MESSAGE: undefined }))).toBeUndefined();
    for (const time of [undefined, 'yesterday', '9'.repeat(30), {}]) {
      expect(parseJournalLine(line({ __REALTIME_TIMESTAMP: time }))).toBeUndefined();
    }
    expect(parseJournalLine('{"MESSAGE": "cu')).toBeUndefined();
  });
});

describe('the program', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'aos-journal-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  async function journalThat(script: string): Promise<HostJournal> {
    const path = join(directory, 'journalctl');
    await writeFile(path, `#!/bin/sh\necho $$ > '${directory}/pid'\n${script}\n`);
    await chmod(path, 0o755);
    return new HostJournal(path);
  }

  const read = async (journal: HostJournal, signal = new AbortController().signal) => {
    const entries: JournalEntry[] = [];
    for await (const entry of journal.read({ matches: [] }, signal)) entries.push(entry);
    return entries;
  };

  test('entries come one after another', async () => {
    const journal = await journalThat(`echo '${line({ MESSAGE: 'one' })}'; echo '${line({ MESSAGE: 'two' })}'`);
    expect((await read(journal)).map(({ message }) => message)).toEqual(['one', 'two']);
  });

  test('what is damaged, half or endless is left out, and what comes after it is read', async () => {
    const journal = await journalThat(
      `printf '\\377\\000{{\\n'; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo '${line({}).slice(0, 40)}'; echo '${line({ MESSAGE: 'after' })}'`,
    );
    expect((await read(journal)).map(({ message }) => message)).toEqual(['after']);
  });

  test('its failure is told in its own words, a missing program by name', async () => {
    await expect(read(await journalThat('echo "no journal here" >&2; exit 3'))).rejects.toMatchObject({
      code: 'runtime',
      exitCode: 3,
      message: expect.stringContaining('no journal here'),
    });
    await expect(read(new HostJournal('/does/not/exist'))).rejects.toThrow(/does\/not\/exist/);
  });

  test('who stops reading ends the program', async () => {
    const journal = await journalThat(`echo '${line({})}'; exec sleep 1000`);
    for await (const entry of journal.read({ matches: [] }, new AbortController().signal)) {
      expect(entry.message).toBe('hello');
      break;
    }
    const pid = Number(await readFile(join(directory, 'pid'), 'utf8'));
    await expect
      .poll(
        () =>
          readFile(`/proc/${pid}/stat`, 'utf8').then(
            (text) => text.includes(') Z'),
            () => true,
          ),
        { timeout: 15_000 },
      )
      .toBe(true);
  });
});
