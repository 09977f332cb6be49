/** Entries of a desired status that say different things of one thing: the first counts (spec/decisions.md C-17). Pure. */
import { isDeepStrictEqual } from 'node:util';
import { AosError, toErrorInfo } from '../../core/index.ts';
import type { Desired, RefusedInstance, RefusedItem } from './desired-model.ts';

/** The same again is no contradiction and goes without a word; another thing is refused under its name. */
export function withoutContradictions(desired: Desired): Desired {
  const items = firstOf(desired.items, ({ item }) => item.id);
  const instances = firstOf(desired.instances, ({ item, subject }) => JSON.stringify([item.id, subject.id]));
  const subjects = firstOf(desired.subjects, ({ identity }) => identity.id);
  if (items.repeated + instances.repeated + subjects.repeated === 0) return desired;
  const refusedItems = items.contradicting.map(
    ([first, { item, version }]): RefusedItem => ({
      itemId: item.id,
      type: item.type,
      version,
      error: refusal(`item ${item.id} is also named in version ${first.version}, which counts`),
    }),
  );
  const refusedInstances = instances.contradicting.map(
    ([, { item, subject }]): RefusedInstance => ({
      itemId: item.id,
      subjectId: subject.id,
      error: refusal(`instances of ${item.id} for ${subject.id} are asked for twice, the first counts`),
    }),
  );
  const { refusals } = desired;
  const isClean = !refusals && refusedItems.length + refusedInstances.length === 0;
  return {
    ...desired,
    items: items.first,
    instances: instances.first,
    subjects: subjects.first,
    ...(!isClean && {
      refusals: {
        items: [...(refusals?.items ?? []), ...refusedItems],
        instances: [...(refusals?.instances ?? []), ...refusedInstances],
      },
    }),
  };
}

interface Firsts<T> {
  readonly first: readonly T[];
  /** The first one with what says something else. */
  readonly contradicting: readonly (readonly [T, T])[];
  readonly repeated: number;
}

function firstOf<T>(entries: readonly T[], nameOf: (entry: T) => string): Firsts<T> {
  const first = new Map<string, T>();
  const contradicting: (readonly [T, T])[] = [];
  for (const entry of entries) {
    const known = first.get(nameOf(entry));
    if (!known) first.set(nameOf(entry), entry);
    else if (!isDeepStrictEqual(known, entry)) contradicting.push([known, entry]);
  }
  return { first: [...first.values()], contradicting, repeated: entries.length - first.size };
}

function refusal(message: string) {
  return toErrorInfo(new AosError('invalidArgument', message));
}
