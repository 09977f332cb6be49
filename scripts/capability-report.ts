/** From test titles such as `[CM-07] …` to a table of capabilities. Pure. */
import type { TestResult } from './test-results.ts';

export interface Capability {
  readonly id: string;
  readonly text: string;
}

export interface ProvenCapability extends Capability {
  /** `proven`: at least one test names it and all of these pass; `failing`: one of them fails; `open`: none. */
  readonly state: 'proven' | 'failing' | 'open';
  readonly tests: readonly TestResult[];
}

export interface Group<C> {
  readonly title: string;
  readonly capabilities: readonly C[];
}

export type CapabilityGroup = Group<ProvenCapability>;

const ID_IN_TITLE = /\[([A-Z]+-\d+)\]/g;

/** Reads the list: `# title` begins a group, every other line is `ID text`. */
export function parseCapabilities(text: string): Group<Capability>[] {
  const groups: { title: string; capabilities: Capability[] }[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('# ')) groups.push({ title: line.slice(2), capabilities: [] });
    const match = /^([A-Z]+-\d+) (.+)$/.exec(line);
    if (match) groups.at(-1)?.capabilities.push({ id: match[1]!, text: match[2]! });
  }
  return groups;
}

/** Joins the list with the tests; also answers identifiers that only tests know, which are misspelled. */
export function rollUp(
  known: readonly Group<Capability>[],
  tests: readonly TestResult[],
): { readonly groups: CapabilityGroup[]; readonly unknownIds: string[] } {
  const testsById = new Map<string, TestResult[]>();
  for (const test of tests) {
    // A skipped test proves nothing.
    if (test.status === 'skipped') continue;
    for (const [, id] of test.title.matchAll(ID_IN_TITLE)) {
      testsById.set(id!, [...(testsById.get(id!) ?? []), test]);
    }
  }
  const groups = known.map(({ title, capabilities }) => ({
    title,
    capabilities: capabilities.map((capability): ProvenCapability => {
      const found = testsById.get(capability.id) ?? [];
      const state =
        found.length === 0 ? 'open' : found.every((test) => test.status === 'passed') ? 'proven' : 'failing';
      return { ...capability, state, tests: found };
    }),
  }));
  const knownIds = new Set(known.flatMap((group) => group.capabilities.map((capability) => capability.id)));
  return { groups, unknownIds: [...testsById.keys()].filter((id) => !knownIds.has(id)).sort() };
}

/**
 * The same tests with their files named from the checkout that the report was made in, which need not be this one: it is
 * the directory from which most of the names lead to a file here (`isHere` is asked with names such as `src/a.test.ts`).
 */
export function namedFromCheckout(tests: readonly TestResult[], isHere: (name: string) => boolean): TestResult[] {
  const votes = new Map<string, number>();
  for (const file of new Set(tests.map((test) => test.file))) {
    const root = rootOf(file, isHere);
    if (root !== undefined) votes.set(root, (votes.get(root) ?? 0) + 1);
  }
  const [root] = [...votes].reduce((best, vote) => (vote[1] > best[1] ? vote : best), ['', 0]);
  return tests.map((test) => ({
    ...test,
    file: test.file.startsWith(root) ? test.file.slice(root.length) : test.file,
  }));
}

/** What stands before the longest end of a path that is a file here, with its slash. */
function rootOf(file: string, isHere: (name: string) => boolean): string | undefined {
  for (let slash = file.indexOf('/'); slash >= 0; slash = file.indexOf('/', slash + 1)) {
    if (isHere(file.slice(slash + 1))) return file.slice(0, slash + 1);
  }
  return undefined;
}

const MARKS: Readonly<Record<ProvenCapability['state'], string>> = { proven: 'yes', failing: 'FAILING', open: '' };

/** The page for people: one table per group. */
export function renderMarkdown(groups: readonly CapabilityGroup[]): string {
  const all = groups.flatMap((group) => group.capabilities);
  const proven = all.filter((capability) => capability.state === 'proven').length;
  const sections = groups.map(({ title, capabilities }) => {
    const rows = capabilities.map(({ id, text, state, tests }) => {
      const files = [...new Set(tests.map((test) => test.file))].sort();
      return `| ${id} | ${text.replaceAll('|', '\\|')} | ${MARKS[state]} | ${files.map((file) => `\`${file}\``).join(', ')} |`;
    });
    return [`## ${title}`, '', '| # | capability | proven | tests |', '|---|---|---|---|', ...rows, ''].join('\n');
  });
  return [
    '# Capabilities',
    '',
    'Written by `npm run capabilities`. A capability is proven when tests carry its identifier and all of them pass.',
    '',
    `${proven} of ${all.length} are proven.`,
    '',
    ...sections,
  ].join('\n');
}
