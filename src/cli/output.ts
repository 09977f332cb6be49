/** Two forms of every answer: a table for people, JSON for programs. */

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
export function showState(word: string, { style }: Look): string {
  const tone = WORDS[word];
  return tone === undefined ? word : style[tone](word);
}

/** Since when a state is as it is; nothing where it was never another: the beginning of time says so. */
export const sinceOf = (time: string): string => (Date.parse(time) === 0 ? '' : ` since ${time}`);

/** The last column may be cut so much, to fit a terminal. */
const LEAST_LAST_COLUMN = 12;
const GAP = 2;

/** Aligned columns with upper-case titles; a table without rows says so. On a terminal the last column is cut to its width. */
export function formatTable<Row>(rows: readonly Row[], columns: Columns<Row>, look: Look = PLAIN): string[] {
  const titles = Object.keys(columns);
  if (rows.length === 0) return ['(none)'];
  const lines = [titles.map((title) => title.toUpperCase())];
  for (const row of rows) lines.push(titles.map((title) => formatCell(columns[title]!(row))));
  const widths = titles.map((_, index) => Math.max(...lines.map((line) => line[index]!.length)));
  const last = titles.length - 1;
  const before = widths.slice(0, last).reduce((sum, width) => sum + width + GAP, 0);
  const room = look.width === undefined ? Number.POSITIVE_INFINITY : Math.max(LEAST_LAST_COLUMN, look.width - before);
  return lines.map((line, row) =>
    line
      .map((cell, index) => {
        if (index === last) return colour(cut(cell, room), row, look);
        // Colours have no width of their own.
        return colour(cell, row, look) + ' '.repeat(widths[index]! - cell.length + GAP);
      })
      .join('')
      .trimEnd(),
  );
}

const colour = (cell: string, row: number, look: Look): string =>
  row === 0 ? look.style.strong(cell) : showState(cell, look);

const cut = (text: string, room: number): string => (text.length <= room ? text : `${text.slice(0, room - 1)}…`);

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
