/** Two forms of every answer: a table for people, JSON for programs. */
import { fitColumns, GAP, INDENT } from './fit-columns.ts';

/** How text stands out; each leaves it as it is where there are no colours. */
export interface Style {
  strong(text: string): string;
  faint(text: string): string;
  good(text: string): string;
  warning(text: string): string;
  bad(text: string): string;
}

/** What there is to show something on. */
export interface Look {
  readonly style: Style;
  /** Columns of a terminal; undefined where text may be of any width. */
  readonly width?: number | undefined;
}

export interface Output extends Look {
  readonly json: boolean;
  /** Answers on standard output. */
  line(text: string): void;
  /** An answer that takes the place of the former one, on a terminal. */
  page(text: string): void;
  /** Hints and what was done, on standard error, so that pipes see answers only. */
  note(text: string): void;
  /** How far long work is: one line that changes, on standard error when that is a terminal; elsewhere nothing. */
  progress(text: string): void;
}

const same = (text: string): string => text;
export const PLAIN: Look = { style: { strong: same, faint: same, good: same, warning: same, bad: same } };

export type Cell = string | number | boolean | undefined;

/** A column: its title and what stands in it. */
export type Columns<Row> = Readonly<Record<string, (row: Row) => Cell>>;

const formatCell = (cell: Cell): string => (cell === undefined || cell === '' ? '-' : String(cell));

/** Words of states, whatever they are about. */
const WORDS: Readonly<Record<string, Exclude<keyof Style, 'strong' | 'faint'>>> = {
  ...{ active: 'good', installed: 'good', connected: 'good', provisioned: 'good', online: 'good', valid: 'good' },
  ...{ failed: 'bad', error: 'bad', rejected: 'bad', offline: 'bad' },
  ...{ activating: 'warning', downloading: 'warning', pending: 'warning', installing: 'warning', paused: 'warning' },
};

/** A word of a state in its colour; every other text as it is. */
export const showState = (word: string, look: Look): string => inColour(word, word, look);

/** A text in the colour of a word that may be more than is shown of it. */
function inColour(text: string, word: string, { style }: Look): string {
  const tone = WORDS[word];
  return tone === undefined ? text : style[tone](text);
}

/** Since when a state is as it is; nothing where it was never another: the beginning of time says so. */
export const sinceOf = (time: string): string => (Date.parse(time) === 0 ? '' : ` since ${time}`);

/** What something is and how it is called; the one update of a unit has no other name than what it is. */
export const nameOf = ({ kind, id }: { readonly kind: string; readonly id: string }): string =>
  kind === id ? kind : `${kind} ${id}`;

/**
 * Aligned columns with upper-case titles; a table without rows says so. On a terminal no line is wider than it: columns are
 * cut, all but the first.
 */
export function formatTable<Row>(rows: readonly Row[], columns: Columns<Row>, look: Look = PLAIN): string[] {
  const titles = Object.keys(columns);
  if (rows.length === 0) return ['(none)'];
  const lines = [titles.map((title) => title.toUpperCase())];
  for (const row of rows) lines.push(titles.map((title) => formatCell(columns[title]!(row))));
  const natural = titles.map((_, index) => Math.max(...lines.map((line) => line[index]!.length)));
  const { widths, isStacked } = fitColumns(natural, look.width);
  return lines.flatMap((line, row) => {
    const cells = widths.map((width, index) => formatColumn(line[index]!, width, row === 0, look));
    const [first, ...others] = cells;
    const parts = isStacked ? [[first], [INDENT, ...others]] : [cells];
    return parts.map((part) => part.join('').trimEnd());
  });
}

/** A cell in its width, with the gap behind it. */
function formatColumn(cell: string, width: number, isTitle: boolean, look: Look): string {
  const shown = cell.length <= width ? cell : `${cell.slice(0, width - 1)}…`;
  // Colours have no width of their own.
  const space = ' '.repeat(width - shown.length + GAP);
  return (isTitle ? look.style.strong(shown) : inColour(shown, cell, look)) + space;
}

/** Prints rows as a table, or as a JSON array of the rows themselves. */
export function printRows<Row>(output: Output, rows: readonly Row[], columns: Columns<Row>): void {
  if (output.json) output.line(JSON.stringify(rows, null, 2));
  else for (const line of formatTable(rows, columns, output)) output.line(line);
}

/** Prints a result as JSON, or the given lines. */
export function printResult(output: Output, value: unknown, lines: readonly string[]): void {
  if (output.json) output.line(JSON.stringify(value, null, 2));
  else for (const line of lines) output.line(line);
}
