/** How the columns of a table share the width of a terminal (spec/beyond.md P-02). Pure. */

/** Between two columns. */
export const GAP = 2;
/** Of the lines below the first column, when it has a line of its own. */
export const INDENT = '  ';
/** Narrower than this no column says anything: a state or a version is as long. */
const LEAST_WIDTH = 12;

export interface Fit {
  /** Of each column that is shown, in their order; what is longer is cut. Never cut: the first, which says what a row is about. */
  readonly widths: readonly number[];
  /** Whether the others stand on a second line of their own, below the first. */
  readonly isStacked: boolean;
}

/**
 * The widest columns give first, down to what still says something. Where even that is too wide, the first column has a
 * line of its own; what then still has no room is left out, from the right.
 */
export function fitColumns(natural: readonly number[], width = Number.POSITIVE_INFINITY): Fit {
  const [first = 0, ...others] = natural;
  const beside = shrink(others, width - first - GAP);
  if (beside) return { widths: [first, ...beside], isStacked: false };
  const room = width - INDENT.length;
  for (let count = others.length; count > 1; count--) {
    const below = shrink(others.slice(0, count), room);
    if (below) return { widths: [first, ...below], isStacked: true };
  }
  return { widths: [first, ...others.slice(0, 1).map((one) => Math.min(one, Math.max(1, room)))], isStacked: true };
}

/** The same columns within so much room, gaps between them included; undefined when there is too little. */
function shrink(widths: readonly number[], room: number): number[] | undefined {
  const gaps = GAP * Math.max(0, widths.length - 1);
  const fits = (limit: number) => narrowed(widths, limit).reduce((sum, one) => sum + one, gaps) <= room;
  const widest = Math.max(0, ...widths);
  if (fits(widest)) return [...widths];
  if (!fits(LEAST_WIDTH)) return undefined;
  // The highest limit that fits: all that is wider is cut to it.
  let limit = Math.min(widest, room);
  while (!fits(limit)) limit--;
  // A few columns more are left over where several share the limit; the last one, which is the longest to read, has them.
  const narrow = narrowed(widths, limit);
  const left = room - gaps - narrow.reduce((sum, one) => sum + one, 0);
  const last = widths.length - 1;
  narrow[last] = Math.min(widths[last]!, narrow[last]! + left);
  return narrow;
}

const narrowed = (widths: readonly number[], limit: number): number[] => widths.map((one) => Math.min(one, limit));
