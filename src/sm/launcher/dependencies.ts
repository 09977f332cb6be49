/**
 * What an instance waits for before it starts (spec/product.md 4.3, spec/beyond.md P-22). Pure.
 *
 *     "dependencies": [{ "identity": { "codename": "broker" }, "versions": ">=1.0.0,<2.0.0", "condition": "healthy" }]
 *
 * Only what runs on the same node is waited for: nobody else can be seen from here.
 */
import * as z from 'zod';
import { AosError, compareVersions, type InstanceState, readDocument } from '../../core/index.ts';

/** `after` and `before` order starts that happen at the same time, and ask for nothing. */
export type Condition = 'started' | 'healthy' | 'completed' | 'after' | 'before';

export interface Dependency {
  readonly itemId: string;
  readonly condition: Condition;
  /** As it was written, for people; absent: any version. */
  readonly versions?: string | undefined;
  readonly includePreRelease: boolean;
}

/** How an instance of the other item does. */
export interface NeighbourFacts {
  readonly version: string;
  readonly state: InstanceState;
  /** Its main process runs. */
  readonly hasStarted: boolean;
  /** It ended with exit code 0 and is not to be started again. */
  readonly hasCompleted: boolean;
  /** It is still to be started by this launch, or is being started. */
  readonly isPending: boolean;
  readonly because: string;
}

const Identity = z.object({
  id: z.string().optional(),
  codename: z.string().optional(),
  urn: z.string().optional(),
  type: z.string().default('service'),
});

const DependencyDocument = z
  .object({
    identity: Identity,
    versions: z.string().optional(),
    includePreRelease: z.boolean().default(false),
    condition: z
      .enum(
        ['started', 'healthy', 'completed', 'after', 'before'],
        'expected started, healthy, completed, after or before',
      )
      .default('started'),
  })
  .transform(({ identity, ...rest }, context) => {
    const itemId = identity.id ?? identity.codename ?? identity.urn;
    if (itemId) return { ...rest, itemId, type: identity.type };
    context.addIssue({ code: 'custom', message: 'expected an identity with id, codename or urn' });
    return z.NEVER;
  })
  .refine(({ versions }) => versions === undefined || comparators(versions) !== undefined, {
    message: 'expected comparisons such as ">=1.0.0,<2.0.0"',
  });

const Dependencies = z.object({ dependencies: z.array(DependencyDocument).max(64, 'expected at most 64').default([]) });

/** Throws `invalidArgument` naming what is wrong. Layers and components are no matter of the start order. */
export function readDependencies(dependencies: unknown): Dependency[] {
  if (dependencies === undefined || dependencies === null) return [];
  const { value } = readDocument(Dependencies, { dependencies }, { what: 'item configuration' });
  return value.dependencies
    .filter(({ type }) => type === 'service')
    .map(({ itemId, condition, versions, includePreRelease }) => ({ itemId, condition, versions, includePreRelease }));
}

interface Comparator {
  readonly operator: string;
  readonly version: string;
}

function comparators(text: string): Comparator[] | undefined {
  const parts = text.split(',').map((part) => /^\s*(>=|<=|>|<|==?|)\s*v?([0-9A-Za-z.+-]+)\s*$/.exec(part));
  if (parts.some((part) => !part || !isVersion(part[2] ?? ''))) return undefined;
  return parts.map((part) => ({ operator: part![1] ?? '', version: part![2] ?? '' }));
}

function isVersion(text: string): boolean {
  try {
    return compareVersions(text, text) === 0;
  } catch {
    // It throws for what is none.
    return false;
  }
}

/** Whether a version is within `>=1.0.0,<2.0.0`; a version that is none is not. */
export function versionFits(
  version: string,
  { versions, includePreRelease }: Pick<Dependency, 'versions' | 'includePreRelease'>,
): boolean {
  if (versions === undefined) return true;
  if (!isVersion(version) || (!includePreRelease && version.includes('-'))) return false;
  return (comparators(versions) ?? []).every(({ operator, version: bound }) => {
    const order = compareVersions(version, bound);
    switch (operator) {
      case '>=':
        return order >= 0;
      case '<=':
        return order <= 0;
      case '>':
        return order > 0;
      case '<':
        return order < 0;
      default:
        return order === 0;
    }
  });
}

/**
 * Why an instance must not start yet, as a person reads it; undefined when it may. `neighbours` are the instances of the
 * item on this node; without any there is nothing to wait for.
 */
export function whyWait(dependency: Dependency, neighbours: readonly NeighbourFacts[]): string | undefined {
  const { itemId, condition, versions } = dependency;
  for (const facts of neighbours) {
    if (condition === 'before') continue;
    if (condition === 'after') {
      if (facts.isPending) return `${itemId} is started first`;
      continue;
    }
    if (!versionFits(facts.version, dependency)) return `${itemId} ${facts.version} is here, ${versions} is needed`;
    if (!fulfils(condition, facts)) return `${itemId} is not ${condition}: ${facts.because}`;
  }
  return undefined;
}

function fulfils(condition: 'started' | 'healthy' | 'completed', facts: NeighbourFacts): boolean {
  if (condition === 'completed') return facts.hasCompleted;
  if (condition === 'healthy') return facts.state === 'active' || facts.hasCompleted;
  return facts.hasStarted || facts.state === 'active' || facts.hasCompleted;
}

/** `before` of one item is `after` of the other: what each of them waits for, by item. */
export function waitsOf(own: ReadonlyMap<string, readonly Dependency[]>): Map<string, Dependency[]> {
  const waits = new Map(
    [...own].map(([itemId, list]) => [itemId, list.filter(({ condition }) => condition !== 'before')]),
  );
  for (const [itemId, list] of own) {
    for (const dependency of list) {
      if (dependency.condition !== 'before' || !own.has(dependency.itemId)) continue;
      const wait: Dependency = { itemId, condition: 'after', includePreRelease: true };
      waits.set(dependency.itemId, [...(waits.get(dependency.itemId) ?? []), wait]);
    }
  }
  return waits;
}

/** Items that wait for each other in a circle, each with the error that says so. */
export function findCircles(waits: ReadonlyMap<string, readonly Dependency[]>): Map<string, AosError> {
  const circles = new Map<string, AosError>();
  for (const start of waits.keys()) {
    const way = wayBack(start, waits);
    if (!way) continue;
    circles.set(start, new AosError('invalidArgument', `dependencies form a circle: ${way.join(' → ')}`));
  }
  return circles;
}

/** The shortest way from an item over those it waits for back to itself. */
function wayBack(start: string, waits: ReadonlyMap<string, readonly Dependency[]>): string[] | undefined {
  const queue: string[][] = [[start]];
  const seen = new Set<string>();
  for (let way = queue.shift(); way; way = queue.shift()) {
    for (const { itemId } of waits.get(way.at(-1)!) ?? []) {
      if (itemId === start) return [...way, start];
      if (seen.has(itemId)) continue;
      seen.add(itemId);
      queue.push([...way, itemId]);
    }
  }
  return undefined;
}
