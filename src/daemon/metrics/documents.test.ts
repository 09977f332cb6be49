/** The dashboard and the rules in docs/ speak of metrics that exist. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';

const ROOT = join(import.meta.dirname, '..', '..', '..');
const SOURCES = [
  'src/sm/metrics.ts',
  'src/cm/metrics.ts',
  'src/iam/metrics.ts',
  'src/daemon/metrics/process-metrics.ts',
];

/** Names in the source; those that are put together have their ends there. */
const source = SOURCES.map((path) => readFileSync(join(ROOT, path), 'utf8')).join('\n');
const exists = (name: string) =>
  source.includes(`'${name}'`) || /^aos_(node|instance)_(down|up)load_bytes_total$/.test(name);

const namesIn = (expression: string) => expression.match(/\b(?:aos|process)_[a-z_]+/g) ?? [];

interface Dashboard {
  readonly panels: readonly { readonly targets: readonly { readonly expr: string }[] }[];
}

interface Rules {
  readonly groups: readonly { readonly rules: readonly { readonly alert: string; readonly expr: string }[] }[];
}

test('[P-14] every panel of the dashboard shows metrics that the daemons serve', () => {
  const dashboard = JSON.parse(readFileSync(join(ROOT, 'docs/grafana/aoscore.json'), 'utf8')) as Dashboard;
  const names = dashboard.panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => namesIn(expr)));
  expect(names.length).toBeGreaterThan(15);
  expect(names.filter((name) => !exists(name))).toEqual([]);
});

test('[P-14] every rule for alerts looks at metrics that the daemons serve', () => {
  const directory = join(ROOT, 'docs/prometheus');
  for (const file of readdirSync(directory)) {
    const { groups } = parse(readFileSync(join(directory, file), 'utf8')) as Rules;
    const rules = groups.flatMap((group) => group.rules);
    expect(rules.length).toBeGreaterThan(5);
    expect(rules.flatMap(({ expr }) => namesIn(expr)).filter((name) => !exists(name))).toEqual([]);
  }
});
