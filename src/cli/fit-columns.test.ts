import { stripVTControlCharacters } from 'node:util';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { fitColumns, GAP, INDENT } from './fit-columns.ts';
import { formatTable, type Look, PLAIN } from './output.ts';

const columns = {
  instance: (row: (typeof rows)[0]) => row.instance,
  version: (row: (typeof rows)[0]) => row.version,
  node: (row: (typeof rows)[0]) => row.node,
  state: (row: (typeof rows)[0]) => row.state,
  error: (row: (typeof rows)[0]) => row.error,
};
const rows = [
  {
    instance: 'navigation/drivers/0',
    version: '1.0.0',
    node: '5d1f9a0c7b2e4d6f8a1b3c5d7e9f0a2b',
    state: 'provisioned',
    error: 'no runtimes with requested RAM (failed)',
  },
];
const at = (width: number): Look => ({ ...PLAIN, width });

describe('[P-02] a table on a terminal', () => {
  test('is as wide as it likes where there is room', () => {
    expect(formatTable(rows, columns, at(200))).toEqual(formatTable(rows, columns, PLAIN));
  });

  test('has its widest columns cut first; what a row is about stays whole', () => {
    expect(formatTable(rows, columns, at(80))).toEqual([
      'INSTANCE              VERSION  NODE               STATE        ERROR',
      'navigation/drivers/0  1.0.0    5d1f9a0c7b2e4d6f…  provisioned  no runtimes with…',
    ]);
  });

  test('puts what a row is about on a line of its own where it is narrow', () => {
    expect(formatTable(rows, columns, at(60))).toEqual([
      'INSTANCE',
      '  VERSION  NODE               STATE        ERROR',
      'navigation/drivers/0',
      '  1.0.0    5d1f9a0c7b2e4d6f…  provisioned  no runtimes with…',
    ]);
  });

  test('leaves out from the right what has no room at all', () => {
    expect(formatTable(rows, columns, at(36))).toEqual([
      'INSTANCE',
      '  VERSION  NODE          STATE',
      'navigation/drivers/0',
      '  1.0.0    5d1f9a0c7b2…  provisioned',
    ]);
  });

  test('colours a state that had to be cut as if it were whole', () => {
    const look: Look = { style: { ...PLAIN.style, good: (text) => `\u001b[32m${text}\u001b[39m` }, width: 10 };
    const lines = formatTable([rows[0]!], { of: () => 'a', state: (row) => row.state }, look);
    expect(lines.at(-1)).toBe('  \u001b[32mprovisi…\u001b[39m');
    expect(stripVTControlCharacters(lines.at(-1)!)).toHaveLength(10);
  });

  test('whatever its columns, no line is wider, and the first column is whole', () => {
    const widths = fc.array(fc.nat({ max: 120 }), { minLength: 1, maxLength: 9 });
    fc.assert(
      fc.property(widths, fc.integer({ min: 1, max: 250 }), (natural, width) => {
        const { widths, isStacked } = fitColumns(natural, width);
        expect(widths[0]).toBe(natural[0]);
        for (const [index, one] of widths.entries()) expect(one).toBeLessThanOrEqual(natural[index]!);
        const others = widths.slice(1);
        const gaps = GAP * Math.max(0, others.length - 1);
        const line = others.reduce((sum, one) => sum + one, gaps);
        if (isStacked) expect(INDENT.length + line).toBeLessThanOrEqual(Math.max(width, INDENT.length + 1));
        else if (others.length > 0) expect(widths[0]! + GAP + line).toBeLessThanOrEqual(width);
        if (!isStacked) expect(widths).toHaveLength(natural.length);
      }),
    );
  });
});
