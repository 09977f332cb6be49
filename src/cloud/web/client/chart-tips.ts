/** Charts say what is under the pointer: values, and the alerts that are near. */

interface ShownLine {
  readonly name: string;
  readonly points: readonly (readonly [at: number, value: number, text: string])[];
}

interface ShownMark {
  readonly at: number;
  readonly text: string;
}

/** An alert is named when the pointer is no further from it than this part of the chart. */
const NEAR = 0.02;

function showTip(event: PointerEvent): void {
  const area = (event.target as Element).closest?.<HTMLElement>('.area');
  for (const tip of document.querySelectorAll('.tip')) if (tip.parentElement !== area) tip.remove();
  if (!area) return;
  const { left, width } = area.getBoundingClientRect();
  const share = (event.clientX - left) / width;
  const [from, till] = [Number(area.dataset.from), Number(area.dataset.till)];
  const at = from + share * (till - from);
  const lines = JSON.parse(area.dataset.lines!) as ShownLine[];
  const marks = (JSON.parse(area.dataset.marks ?? '[]') as ShownMark[]).filter(
    (mark) => Math.abs(mark.at - at) < NEAR * (till - from),
  );
  const nearest = lines.flatMap(({ name, points }) => {
    const point = points.reduce<ShownLine['points'][number] | undefined>(
      (best, next) => (best && Math.abs(best[0] - at) <= Math.abs(next[0] - at) ? best : next),
      undefined,
    );
    return point ? [{ name, point }] : [];
  });
  if (nearest.length === 0) return;
  const tip = area.querySelector<HTMLElement>('.tip') ?? document.createElement('div');
  tip.className = 'tip';
  const time = new Date(nearest[0]!.point[0]).toLocaleTimeString();
  const values = nearest.map(({ name, point }) => (lines.length > 1 ? `${name} ${point[2]}` : point[2])).join(', ');
  tip.textContent = [`${time}  ${values}`, ...marks.map(({ text }) => text)].join('\n');
  if (!tip.parentElement) area.append(tip);
  tip.style.left = share > 0.6 ? 'auto' : `${share * 100}%`;
  tip.style.right = share > 0.6 ? `${(1 - share) * 100}%` : 'auto';
}
document.addEventListener('pointermove', showTip);
// A finger does not hover.
document.addEventListener('pointerdown', showTip);
