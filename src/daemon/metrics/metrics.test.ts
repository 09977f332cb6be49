import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import { type Logger, silentLogger } from '../../core/index.ts';
import { countBy, formatMetrics, type Metric } from './format-metrics.ts';
import { MetricsListen, MetricsServer } from './metrics-server.ts';
import { metricValue, parsePrometheus } from './prometheus-parser-for-tests.ts';

let server: MetricsServer | undefined;
afterEach(() => server?.stop());

async function open(
  collect: () => readonly Metric[] | Promise<readonly Metric[]>,
  more: { listen?: string; logger?: Logger } = {},
): Promise<string> {
  server = await MetricsServer.open({
    ...{ listen: '127.0.0.1:0', program: 'aos-xx', version: '1.2.3', collect, logger: silentLogger },
    ...more,
  });
  return `http://127.0.0.1:${server?.port}/metrics`;
}

const gauge = (name: string, value: number, labels = {}): Metric => ({
  ...{ name, help: 'for a test', type: 'gauge' },
  samples: [{ labels, value }],
});

test('[P-14] a scrape gives the metrics of the daemon and what it costs, as Prometheus reads them', async () => {
  const response = await fetch(await open(() => [gauge('aos_things', 4, { kind: 'big' })]));
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  const metrics = parsePrometheus(await response.text());
  expect(metricValue(metrics, 'aos_things', { kind: 'big' })).toBe(4);
  expect(metricValue(metrics, 'aos_build_info', { program: 'aos-xx', version: '1.2.3' })).toBe(1);
  expect(metricValue(metrics, 'process_cpu_seconds_total')).toBeGreaterThan(0);
  expect(metricValue(metrics, 'process_resident_memory_bytes')).toBeGreaterThan(1e6);
  expect(metricValue(metrics, 'process_open_fds')).toBeGreaterThan(3);
  expect(metricValue(metrics, 'process_start_time_seconds')).toBeCloseTo(performance.timeOrigin / 1000, 0);
  expect(metricValue(metrics, 'aos_process_written_bytes_total')).toBeGreaterThanOrEqual(0);
});

test('whatever stands in a label comes back as it was', () =>
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), (text) => {
      const metrics = parsePrometheus(formatMetrics([gauge('aos_x', 1, { text, other: 'y' })]));
      // The parser leaves escapes as they are.
      const read = metrics.get('aos_x')!.metrics[0]!.labels!.text!;
      expect(read.replaceAll(/\\(["\\n])/g, (_, char: string) => (char === 'n' ? '\n' : char))).toBe(text);
    }),
  ));

test('values that are no number are written as Prometheus writes them; a metric without samples is left out', () => {
  const values = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0.25];
  const text = formatMetrics([
    ...values.map((value, index) => gauge(`aos_${index}`, value)),
    { ...gauge('aos_none', 0), samples: [] },
  ]);
  expect(text.split('\n').filter((line) => line && !line.startsWith('#'))).toEqual([
    'aos_0 NaN',
    'aos_1 +Inf',
    'aos_2 -Inf',
    'aos_3 0.25',
  ]);
});

test('kinds are counted, known ones also when there are none', () => {
  expect(countBy(['a', 'b', 'a'], 'state', ['a', 'c'])).toEqual([
    { labels: { state: 'a' }, value: 2 },
    { labels: { state: 'c' }, value: 0 },
    { labels: { state: 'b' }, value: 1 },
  ]);
});

test('scrapes at the same time share one collection', async () => {
  let collected = 0;
  const { hostname, port } = new URL(
    await open(() => {
      collected += 1;
      return [];
    }),
  );
  // Several requests in one piece arrive at the same time, whatever else the machine does.
  const ask = (more: string) => `GET /metrics HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
  const socket = connect(Number(port), hostname);
  socket.write(`${ask('')}${ask('')}${ask('Connection: close\r\n')}`);
  const answers = Buffer.concat(await socket.toArray()).toString();
  expect(answers.match(/HTTP\/1\.1 200/g)).toHaveLength(3);
  expect(collected).toBe(1);
});

test('what cannot be collected is told, and the next scrape is tried again', async () => {
  let fails = true;
  const url = await open(() => {
    if (fails) throw new Error('/proc is gone');
    return [];
  });
  const response = await fetch(url);
  expect([response.status, await response.text()]).toEqual([500, '/proc is gone\n']);
  fails = false;
  expect((await fetch(url)).status).toBe(200);
});

test('nothing else is answered', async () => {
  const url = await open(() => []);
  expect((await fetch(url, { method: 'POST' })).status).toBe(405);
  expect((await fetch(url.replace('/metrics', '/other'))).status).toBe(404);
});

test('a port that is taken costs the metrics, not the daemon', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => other.once('listening', resolve));
  const warnings: string[] = [];
  const logger = { ...silentLogger, warn: (_: object, message: string) => warnings.push(message) };
  await open(() => [], { listen: `127.0.0.1:${(other.address() as AddressInfo).port}`, logger });
  other.close();
  expect(server).toBeUndefined();
  expect(warnings).toEqual([expect.stringMatching(/there will be no metrics: .*EADDRINUSE/)]);
});

test.each([
  '0.0.0.0:9194',
  '192.168.1.1:9194',
  'example.com:9194',
  '127.0.0.1:70000',
  '[::]:9194',
  'x',
  '',
  '127.0.0.1',
])('[P-14] metrics are refused to anybody but this host: %s', (listen) => {
  expect(MetricsListen.safeParse(listen).error?.issues[0]?.message).toMatch(/port of the loopback interface/);
});

test.each([9194, '9194', ':9194', 'localhost:9194', '127.0.0.1:9194', '[::1]:9194'])('%s is an address', (listen) => {
  expect(MetricsListen.parse(listen)).toBe(String(listen));
});
