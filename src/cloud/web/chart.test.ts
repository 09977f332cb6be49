/** What a chart shows of what was measured. */
import { expect, test } from 'vitest';
import { chart, dotsOf, pathOf } from './chart.ts';
import { alertText } from './pages/alert-parts.ts';
import { spaced } from './words.ts';

const FRAME = { fromMs: 0, tillMs: 1200, top: 100 };
const spec = { title: 'CPU', fromMs: 0, tillMs: 1200, format: (value: number) => `${value} %` };

test('[P-13] a sample that stands alone is a dot, and a hole in time is a hole in the line', () => {
  const points = [0, 60, 600].map((at) => [at, 100] as const);
  expect(pathOf(points, FRAME)).toBe('M0 0L50 0M500 0');
  expect(dotsOf(points, FRAME)).toBe('M500 0h0');
  expect(dotsOf(points.slice(0, 2), FRAME)).toBe('');
});

test('[P-13] alerts are marked, counted and named; those of another time are not', () => {
  const marks = [
    { at: 300, text: 'main: <fan> is slow' },
    { at: 9999, text: 'later' },
  ];
  const { text } = chart({ ...spec, lines: [{ name: 'CPU', points: [[0, 1]] }], marks });
  expect(text).toContain('M250 0V200');
  expect(text).toContain('>1 alert<');
  expect(text).toContain('main: &lt;fan&gt; is slow');
  expect(text).not.toContain('later');
  expect(chart({ ...spec, lines: [], marks: [] }).text).not.toContain('key-alerts');
});

test('[P-13] an alert of a download says which one, how far it came, and why it stopped', () => {
  const data = {
    ...{ digest: `sha256:${'0f'.repeat(32)}`, state: 'interrupted', reason: 'no route' },
    ...{ downloadedBytes: 2 ** 20, totalBytes: 2 ** 30 },
  };
  expect(alertText({ id: 1, at: 0, tag: 'downloadProgressAlert', data })).toBe(
    'download of sha256:0f0f0f0f0f0f… interrupted: 1 MiB of 1 GiB; no route',
  );
  expect(spaced('systemQuota')).toBe('system quota');
});
