import { expect, test } from 'vitest';
import { formatTable, type Output, PLAIN, printRows } from './output.ts';

const rows = [
  { name: 'mosquitto', state: 'active', error: undefined },
  { name: 'x', state: 'failed', error: 'no room' },
];
const columns = {
  name: (row: (typeof rows)[0]) => row.name,
  state: (row: (typeof rows)[0]) => row.state,
  error: (row: (typeof rows)[0]) => row.error,
};

test('columns of a table are aligned, and what is missing is a dash', () => {
  expect(formatTable(rows, columns)).toEqual([
    'NAME       STATE   ERROR',
    'mosquitto  active  -',
    'x          failed  no room',
  ]);
});

test('a table without rows says so', () => {
  expect(formatTable([], columns)).toEqual(['(none)']);
});

test('programs get the rows themselves as JSON', () => {
  const lines: string[] = [];
  const output: Output = {
    json: true,
    line: (text) => lines.push(text),
    note: () => undefined,
    page: () => undefined,
    progress: () => undefined,
    ...PLAIN,
  };
  printRows(output, rows, columns);
  expect(JSON.parse(lines.join(''))).toEqual([
    { name: 'mosquitto', state: 'active' },
    { name: 'x', state: 'failed', error: 'no room' },
  ]);
});
