/** Charts of what was measured, as SVG that stretches, with labels that do not. Pure. */
import { type Html, html } from './html.ts';
import { count, distance } from './words.ts';

export interface Line {
  readonly name: string;
  /** Milliseconds since 1970 and value, the oldest first. */
  readonly points: readonly (readonly [at: number, value: number])[];
}

export interface Mark {
  readonly at: number;
  readonly text: string;
}

export interface Chart {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly fromMs: number;
  readonly tillMs: number;
  /** The highest value that there can be; absent: the chart fits what there is. */
  readonly limit?: number;
  /** Whether round numbers are powers of ten or of two. */
  readonly scale?: 'decimal' | 'binary';
  readonly format: (value: number) => string;
  readonly marks: readonly Mark[];
}

const WIDTH = 1000;
const HEIGHT = 200;
const STEPS = 4;
const TICKS = 4;
/** A line breaks where nothing was measured for longer than this part of the range. */
const GAP = 1 / 12;

/** The smallest of 1, 2, 2.5, 5 · 10ⁿ that is not less, or of 2ⁿ for bytes. */
export function niceCeiling(value: number, scale: Chart['scale'] = 'decimal'): number {
  if (scale === 'binary') return 2 ** Math.ceil(Math.log2(Math.max(value, 1024)));
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  const step = [1, 2, 2.5, 5, 10].find((candidate) => candidate * power >= value)!;
  return step * power;
}

interface Frame {
  readonly fromMs: number;
  readonly tillMs: number;
  readonly top: number;
}

/** The parts of a line between its gaps, as places in the picture. */
function partsOf(points: Line['points'], { fromMs, tillMs, top }: Frame): string[][] {
  const span = Math.max(1, tillMs - fromMs);
  const parts: string[][] = [];
  let before = Number.NEGATIVE_INFINITY;
  for (const [at, value] of points) {
    const x = Math.round(((at - fromMs) / span) * WIDTH * 10) / 10;
    const y = Math.round((HEIGHT - (Math.min(value, top) / top) * HEIGHT) * 10) / 10;
    if (at - before > span * GAP) parts.push([]);
    parts.at(-1)!.push(`${x} ${y}`);
    before = at;
  }
  return parts;
}

/** The path of a line; gaps in time are gaps in the line. */
export function pathOf(points: Line['points'], frame: Frame): string {
  return partsOf(points, frame)
    .map((part) => `M${part.join('L')}`)
    .join('');
}

/** Samples that stand alone: no line leads to them, so they are dots. */
export function dotsOf(points: Line['points'], frame: Frame): string {
  return partsOf(points, frame)
    .filter((part) => part.length === 1)
    .map((part) => `M${part[0]}h0`)
    .join('');
}

const COLOURS = 4;
/** Classes of a line, or of its key. */
const look = (kind: 'line' | 'key', index: number): string =>
  `${kind} ${kind}-${index % COLOURS}${index >= COLOURS ? ` ${kind}-again` : ''}`;

export function chart(spec: Chart): Html {
  const { title, lines, fromMs, tillMs, limit, format, marks } = spec;
  const highest = Math.max(0, ...lines.flatMap(({ points }) => points.map(([, value]) => value)));
  const top = Math.max(limit ?? niceCeiling(highest, spec.scale), 1e-9);
  const steps = Array.from({ length: STEPS + 1 }, (_, index) => (top * (STEPS - index)) / STEPS);
  const ticks = Array.from({ length: TICKS + 1 }, (_, index) => fromMs + ((tillMs - fromMs) * index) / TICKS);
  const shown = marks.filter(({ at }) => at >= fromMs && at <= tillMs);
  const xOf = (at: number) => Math.round(((at - fromMs) / Math.max(1, tillMs - fromMs)) * WIDTH);
  const now = lines.map(({ name, points }) => ({ name, value: points.at(-1)?.[1] }));
  const summary = now
    .map(({ name, value }) => `${lines.length > 1 ? `${name} ` : ''}${value === undefined ? 'no data' : format(value)}`)
    .join(', ');
  const labels = lines.map(({ name, points }) => ({ name, points: points.map(([at, v]) => [at, v, format(v)]) }));
  return html`<figure class="chart"><figcaption><b>${title}</b>${
    lines.length > 1
      ? now.map(
          ({ name, value }, index) =>
            html`<span class="${look('key', index)}">${name} <b>${value === undefined ? '–' : format(value)}</b></span>`,
        )
      : html`<span>${summary}</span>`
  }${shown.length > 0 ? html`<span class="key key-alerts">${count(shown.length, 'alert')}</span>` : ''}</figcaption>
<div class="plot"><div class="scale" aria-hidden="true">${steps.map((value) => html`<span>${format(value)}</span>`)}</div>
<div class="area" data-from="${fromMs}" data-till="${tillMs}" data-lines="${JSON.stringify(labels)}" data-marks="${JSON.stringify(shown)}"><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${`${title}: now ${summary}; highest ${format(highest)}; ${count(shown.length, 'alert')}`}">${steps.map((_, index) => html`<path class="grid" d="M0 ${(HEIGHT * index) / STEPS}H${WIDTH}"/>`)}${shown.map(({ at, text }) => html`<path class="mark" d="M${xOf(at)} 0V${HEIGHT}"><title>${text}</title></path>`)}${lines.map(({ points }, index) => curve(points, { fromMs, tillMs, top }, look('line', index)))}</svg></div>
<div class="ticks" aria-hidden="true">${ticks.map((at) => html`<span>${distance(at, tillMs).replace('just now', 'now')}</span>`)}</div></div></figure>`;
}

function curve(points: Line['points'], frame: Frame, classes: string): Html {
  const dots = dotsOf(points, frame);
  return html`<path class="${classes}" d="${pathOf(points, frame)}"/>${dots === '' ? '' : html`<path class="${classes} dot" d="${dots}"/>`}`;
}
