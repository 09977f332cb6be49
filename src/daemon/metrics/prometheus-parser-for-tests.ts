/** Reads metrics as a stranger does: with a parser that is not ours, after a look at each line by the format's grammar. */
import { createRequire } from 'node:module';

export interface ParsedMetric {
  readonly name: string;
  readonly help: string;
  readonly type: 'GAUGE' | 'COUNTER';
  readonly metrics: readonly { readonly value: string; readonly labels?: Readonly<Record<string, string>> }[];
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = '[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\["\\\\n])*"';
const LINE = new RegExp(
  `^(?:# HELP ${NAME} .*|# TYPE ${NAME} (?:gauge|counter)|${NAME}(?:\\{${LABEL}(?:,${LABEL})*\\})? (?:-?\\d[\\d.e+-]*|NaN|[+-]Inf))$`,
);

/** Throws for a text that Prometheus would refuse, and for names against its conventions. */
export function parsePrometheus(text: string): Map<string, ParsedMetric> {
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  const wrong = text
    .slice(0, -1)
    .split('\n')
    .find((line) => !LINE.test(line));
  if (wrong !== undefined) throw new Error(`not a line of the format: ${wrong}`);
  const parse = createRequire(import.meta.url)('parse-prometheus-text-format') as (text: string) => ParsedMetric[];
  const metrics = new Map<string, ParsedMetric>();
  for (const parsed of parse(text)) {
    if (metrics.has(parsed.name)) throw new Error(`${parsed.name} is there twice`);
    if ((parsed.type === 'COUNTER') !== parsed.name.endsWith('_total')) throw new Error(`${parsed.name} is misnamed`);
    const series = parsed.metrics.map(({ labels }) => JSON.stringify(labels ?? {}));
    if (new Set(series).size < series.length) throw new Error(`${parsed.name} has a series twice`);
    metrics.set(parsed.name, parsed);
  }
  return metrics;
}

/** Value of the series with these labels. */
export function metricValue(
  metrics: ReadonlyMap<string, ParsedMetric>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const found = metrics
    .get(name)
    ?.metrics.find((sample) => Object.entries(labels).every(([label, value]) => sample.labels?.[label] === value));
  return found && Number(found.value);
}
