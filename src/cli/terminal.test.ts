import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { formatTable, PLAIN, printRows } from './output.ts';
import { byteReporter } from './progress.ts';
import { uploadReporter } from './publish/upload-reporter.ts';
import { type Stream, Terminal, type TerminalOptions } from './terminal.ts';

function stream(isTTY: boolean, columns = 40): Stream & { text: string } {
  const made = {
    text: '',
    isTTY,
    columns,
    write: (text: string) => {
      made.text += text;
    },
  };
  return made;
}

function open(isTTY: boolean, more: Partial<TerminalOptions> = {}) {
  const [stdout, stderr] = [stream(isTTY), stream(isTTY)];
  return { stdout, stderr, terminal: new Terminal({ stdout, stderr, env: {}, json: false, ...more }) };
}

const rows = [{ name: 'web', state: 'failed', error: 'the image could not be unpacked, since the disk is full' }];
const columns = {
  name: (row: (typeof rows)[0]) => row.name,
  state: (row: (typeof rows)[0]) => row.state,
  error: (row: (typeof rows)[0]) => row.error,
};
const ESCAPE = '\u001b[';

describe('[P-02] a terminal', () => {
  test('has colours for titles and states, and lines that are no wider than it', () => {
    const { stdout, terminal } = open(true);
    printRows(terminal, rows, columns);
    const [titles, row] = stdout.text.split('\n');
    expect(titles).toContain(`${ESCAPE}1mNAME${ESCAPE}22m`);
    expect(row).toContain(`${ESCAPE}31mfailed${ESCAPE}39m`);
    const plain = stripVTControlCharacters(row!);
    expect(plain).toBe('web   failed  the image could not be un…');
    expect(plain).toHaveLength(40);
  });

  test.each([
    ['NO_COLOR is set', { env: { NO_COLOR: '1' } }],
    ['it is a dumb one', { env: { TERM: 'dumb' } }],
    ['the answer is for a program', { json: true }],
  ])('has no colours when %s', (_, more) => {
    const { stdout, terminal } = open(true, more);
    printRows(terminal, rows, columns);
    expect(stdout.text).not.toContain(ESCAPE);
  });

  test('an empty NO_COLOR does not count', () => {
    const { stdout, terminal } = open(true, { env: { NO_COLOR: '' } });
    printRows(terminal, rows, columns);
    expect(stdout.text).toContain(ESCAPE);
  });

  test('a column is aligned whatever its colours', () => {
    const { terminal } = open(true);
    const two = [
      { state: 'active', next: 'x' },
      { state: 'downloading', next: 'y' },
    ];
    const lines = formatTable(two, { state: (row) => row.state, next: (row) => row.next }, terminal);
    const at = lines.map((line) => stripVTControlCharacters(line).search(/ NEXT| x| y/));
    expect(new Set(at).size).toBe(1);
  });

  test('shows names and messages of others, and does not do what they say', () => {
    const { stdout, stderr, terminal } = open(true);
    const evil = 'unit\u001b]0;title\u0007\u001b[2J\r\u009b1A\u202e';
    terminal.line(evil);
    terminal.note(evil);
    terminal.page(evil);
    terminal.progress(evil);
    const shown = 'unit^[]0;title^G^[[2J^M\\x9b1A<U+202E>';
    expect(stdout.text).toBe(`${shown}\n\u001b[2J\u001b[H${shown}\n`);
    expect(stderr.text).toBe(`${shown}\n\r\u001b[K${shown}`);
  });

  test('[P-15] long work is one line that changes, and is gone before anything else is said', () => {
    const { stdout, stderr, terminal } = open(true);
    terminal.progress('received 1 MiB');
    terminal.progress('received 2 MiB');
    terminal.line('done');
    expect(stderr.text).toBe('\r\u001b[Kreceived 1 MiB\r\u001b[Kreceived 2 MiB\r\u001b[K');
    expect(stdout.text).toBe('done\n');
    terminal.close();
    expect(stderr.text.endsWith('MiB\r\u001b[K')).toBe(true);
  });
});

describe('[P-02] a pipe', () => {
  test('gets whole lines without colours, no progress, and no cleared screens', () => {
    const { stdout, stderr, terminal } = open(false);
    printRows(terminal, rows, columns);
    terminal.progress('received 1 MiB');
    terminal.page('again');
    terminal.close();
    expect(stdout.text).toBe(`NAME  STATE   ERROR\nweb   failed  ${rows[0]!.error}\nagain\n`);
    expect(stderr.text).toBe('');
    expect(terminal.width).toBeUndefined();
  });

  test('may be one of two outputs: answers in a pipe, progress at the terminal', () => {
    const screen = stream(true);
    const { stdout, terminal } = open(false, { stderr: screen });
    terminal.progress('received 1 MiB');
    terminal.line('answer');
    expect(stdout.text).toBe('answer\n');
    expect(screen.text).toContain('received 1 MiB');
  });
});

test('[P-15] work that is soon done is not worth a word; longer is told once a second', () => {
  let nowMs = 0;
  const told: string[] = [];
  const report = byteReporter({ progress: (text) => told.push(text) }, 'checked', 4 * 1024 ** 2, () => nowMs);
  for (nowMs = 100; nowMs <= 2000; nowMs += 100) report(1024 ** 2 / 10);
  expect(told).toEqual(['checked 1.0 MiB of 4.0 MiB', 'checked 2.0 MiB of 4.0 MiB']);
});

test('[P-15] the upload of a large layer is told by percent, of a small one not at all', () => {
  const told: string[] = [];
  const report = uploadReporter({ progress: (text) => told.push(text), note: (text) => told.push(text) });
  const layer = { digest: `sha256:${'a'.repeat(64)}`, totalBytes: 10 * 1024 ** 2 };
  for (let sentBytes = 0; sentBytes <= layer.totalBytes; sentBytes += 64 * 1024) {
    report({ ...layer, sentBytes, state: 'sending' });
  }
  expect(told).toHaveLength(101);
  expect(told[50]).toBe('layer sha256:aaaaaaaaaaaa: 5.0 MiB of 10.0 MiB (50 %)');
  report({ ...layer, totalBytes: 1000, sentBytes: 500, state: 'sending' });
  expect(told).toHaveLength(101);
});

test('a table without a terminal is never cut', () => {
  expect(formatTable(rows, columns, PLAIN)[1]).toContain(rows[0]!.error);
});
