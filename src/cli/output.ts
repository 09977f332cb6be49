/** Two forms of every answer: a table for people, JSON for programs. */

export interface Output {
  readonly json: boolean;
  /** Answers on standard output. */
  line(text: string): void;
  /** Progress and hints on standard error, so that pipes see answers only. */
  note(text: string): void;
}

export type Cell = string | number | boolean | undefined;

/** A column: its title and what stands in it. */
export type Columns<Row> = Readonly<Record<string, (row: Row) => Cell>>;

const formatCell = (cell: Cell): string => (cell === undefined || cell === '' ? '-' : String(cell));

/** Aligned columns with upper-case titles; a table without rows says so. */
export function formatTable<Row>(rows: readonly Row[], columns: Columns<Row>): string[] {
  const titles = Object.keys(columns);
  if (rows.length === 0) return ['(none)'];
  const lines = [titles.map((title) => title.toUpperCase())];
  for (const row of rows) lines.push(titles.map((title) => formatCell(columns[title]!(row))));
  const widths = titles.map((_, index) => Math.max(...lines.map((line) => line[index]!.length)));
  return lines.map((line) =>
    line
      .map((cell, index) => cell.padEnd(widths[index]!))
      .join('  ')
      .trimEnd(),
  );
}

/** Prints rows as a table, or as a JSON array of the rows themselves. */
export function printRows<Row>(output: Output, rows: readonly Row[], columns: Columns<Row>): void {
  if (output.json) output.line(JSON.stringify(rows, null, 2));
  else for (const line of formatTable(rows, columns)) output.line(line);
}

/** Prints a result as JSON, or the given lines. */
export function printResult(output: Output, value: unknown, lines: readonly string[]): void {
  if (output.json) output.line(JSON.stringify(value, null, 2));
  else for (const line of lines) output.line(line);
}
