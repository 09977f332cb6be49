/** docs/json.md tells all that `aosctl --json` answers: each command, and each member of the types behind the answers. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { everyCommand } from '../src/cli/every-command-for-tests.ts';
import { ERROR_CODES } from '../src/core/index.ts';
import { type Member, jsonPage as page, rowsBelow } from './json-page.ts';

const ROOT = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

/** Where the bracket that is open at `start` is closed. */
function closing(text: string, start: number): number {
  let depth = 0;
  for (let index = start; index < text.length; index += 1) {
    if (text[index] === '{') depth += 1;
    if (text[index] === '}') depth -= 1;
    if (depth === 0) return index;
  }
  throw new Error('a bracket is not closed');
}

/** Members of the text between the brackets of an interface; those of what is written in place stand below their own. */
function membersOf(body: string, prefix = ''): Member[] {
  const members: Member[] = [];
  const begin = /readonly (\w+)(\?)?:\s*(?:readonly )?/y;
  let at = 0;
  while (at < body.length) {
    begin.lastIndex = at;
    const match = begin.exec(body);
    if (!match) {
      at += 1;
      continue;
    }
    const [, name, mark] = match;
    at = begin.lastIndex;
    if (body[at] !== '{') {
      members.push({ key: prefix + name, isOptional: mark !== undefined });
      const end = body.indexOf(';', at);
      at = end < 0 ? body.length : end;
      continue;
    }
    const end = closing(body, at);
    const path = `${prefix}${name}${body.startsWith('[]', end + 1) ? '[]' : ''}.`;
    const [first, ...others] = membersOf(body.slice(at + 1, end), path);
    members.push({ key: first!.key, isOptional: first!.isOptional || mark !== undefined }, ...others);
    at = end;
  }
  return members;
}

function interfaceOf(path: string, name: string): Member[] {
  const text = read(path).replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
  const head = new RegExp(`interface ${name} [^{]*\\{`).exec(text);
  if (!head) throw new Error(`${path} has no interface ${name}`);
  const start = head.index + head[0].length - 1;
  return membersOf(text.slice(start + 1, closing(text, start)));
}

/** Those of another type, below a member that has it. */
const below = (prefix: string, members: readonly Member[]): Member[] =>
  members.map(({ key, isOptional }) => ({ key: `${prefix}.${key}`, isOptional }));
const always = (...keys: readonly string[]): Member[] => keys.map((key) => ({ key, isOptional: false }));
const sometimes = (...keys: readonly string[]): Member[] => keys.map((key) => ({ key, isOptional: true }));
const without = (members: readonly Member[], ...keys: readonly string[]): Member[] =>
  members.filter(({ key }) => !keys.includes(key));

const REPORTS = 'src/daemon/reports.ts';
const RATES = 'src/cli/usage-rates.ts';
const STORE = 'src/cloud/store';
const plan = interfaceOf(REPORTS, 'PlanReport');
const plannedItem = interfaceOf(REPORTS, 'PlannedItem');
const sample = interfaceOf(`${STORE}/samples.ts`, 'Sample');

const ANSWERS: readonly (readonly [heading: string, members: readonly Member[]])[] = [
  ['status', interfaceOf(REPORTS, 'UnitReport')],
  ['nodes', interfaceOf(REPORTS, 'NodeReport')],
  ['items', interfaceOf(REPORTS, 'ItemReport')],
  ['instances', interfaceOf(REPORTS, 'InstanceReport')],
  ['events', interfaceOf('src/cli/local-event.ts', 'LocalEvent')],
  [
    'why',
    [
      ...without(interfaceOf(REPORTS, 'WhyReport'), 'reasons'),
      ...below('reasons[]', interfaceOf(REPORTS, 'WhyReason')),
    ],
  ],
  [
    'plan',
    [
      ...without(plan, 'download', 'remove', 'instances'),
      ...below('download[]', plannedItem),
      ...below('remove[]', plannedItem),
      ...below('instances[]', interfaceOf(REPORTS, 'PlannedInstance')),
    ],
  ],
  ['apply', [...without(interfaceOf(REPORTS, 'BundleReport'), 'items'), ...below('items[]', plannedItem)]],
  ['logs', always('at', 'text')],
  ['alerts', interfaceOf('src/sm/alerts/alert-gate.ts', 'KeptAlert')],
  [
    'top',
    [
      ...always('at'),
      ...without(interfaceOf(RATES, 'UsageRates'), 'instances'),
      ...below('instances[]', [...interfaceOf(REPORTS, 'InstanceUsageReport'), ...interfaceOf(RATES, 'InstanceRate')]),
    ],
  ],
  ['networks', interfaceOf(REPORTS, 'NetworkReport')],
  ['certs', interfaceOf('src/iam/servers/status.ts', 'CertificateStatus')],
  ['doctor', interfaceOf('src/cli/doctor/finding.ts', 'Finding')],
  ['config check', interfaceOf('src/daemon/check.ts', 'CheckReport')],
  [
    'status --unit',
    [
      ...interfaceOf('src/cloud/rest/unit-view.ts', 'UnitView'),
      ...interfaceOf('src/cloud/model/unit-picture.ts', 'UnitPicture'),
    ],
  ],
  ['logs --unit', interfaceOf('src/cloud/rest/log-view.ts', 'NodeLog')],
  ['alerts --unit', interfaceOf(`${STORE}/alerts.ts`, 'StoredAlert')],
  ['top --unit', [...always('series'), ...sometimes(...sample.map(({ key }) => key))]],
  ['deployments', interfaceOf(`${STORE}/deployments.ts`, 'Deployment')],
  ['items --published', interfaceOf(`${STORE}/items.ts`, 'PublishedItem')],
  ['unit-sets, unit-set', interfaceOf(`${STORE}/unit-sets.ts`, 'UnitSet')],
  [
    'subjects, subject, assign',
    [
      ...interfaceOf(`${STORE}/subjects.ts`, 'Subject'),
      ...interfaceOf('src/cloud/rest/subject-view.ts', 'SubjectView'),
    ],
  ],
  ['subscribe', interfaceOf(`${STORE}/subjects.ts`, 'Subscription')],
  [
    'campaigns, campaign begin, show, advance, stop',
    [...interfaceOf(`${STORE}/campaigns.ts`, 'Campaign'), ...sometimes('units')],
  ],
  [
    'users, user add',
    [...interfaceOf('src/cloud/access/roles.ts', 'Actor'), ...interfaceOf(`${STORE}/users.ts`, 'UserRow')],
  ],
  ['What failed', interfaceOf('src/core/error.ts', 'ErrorInfo')],
];

const inOrder = (members: readonly Member[]) => members.toSorted((a, b) => (a.key < b.key ? -1 : 1));

describe('docs/json.md', () => {
  test.each(ANSWERS)('tells each member of %s, and which may be absent', (heading, members) => {
    expect(inOrder(rowsBelow(heading))).toEqual(inOrder(members));
  });

  test('tells of each command', () => {
    const headings = [...page.matchAll(/^### (.+)$/gm)].flatMap(([, text]) => text!.split(', '));
    const families = ['campaign', 'user'].flatMap((family) => headings.map((name) => `${family} ${name}`));
    const quoted = [...page.matchAll(/`([^`]+)`/g)].map(([, text]) => text!);
    const told = new Set([...headings, ...families, ...quoted]);
    expect(everyCommand().filter((name) => !told.has(name))).toEqual([]);
  });

  test('tells each member of what commands say that they have done', () => {
    const shown = globSync('src/cli/{commands,publish}/*.ts', { cwd: ROOT })
      .flatMap((path) => [...read(path).matchAll(/printResult\(\s*(?:context\.)?output,\s*\{([^}]*)\}/g)])
      .map(([, members]) => [...members!.matchAll(/(?:^|,)\s*(\w+)/g)].map(([, name]) => name!));
    expect(shown.length).toBeGreaterThan(15);
    const rows = page
      .split('## What was done')[1]!
      .split('\n')
      .filter((line) => line.startsWith('| `'));
    const untold = shown.filter((names) => !rows.some((row) => names.every((name) => row.includes(`\`${name}\``))));
    expect(untold).toEqual([]);
  });

  test('tells each code of a failure', () => {
    const codes = Object.keys(ERROR_CODES).filter((code) => code !== 'none');
    expect(codes.filter((code) => !page.includes(`\`${code}\``))).toEqual([]);
  });
});
