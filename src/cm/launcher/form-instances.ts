/** Which instances shall exist: run requests joined with what is stored (spec/cm.md 4.1, 4.3). Pure. */
import { AosError, type ErrorInfo, type InstanceIdent, isAosError, toErrorInfo } from '../../core/index.ts';
import type { RunRequest } from '../model.ts';
import { LAUNCHER } from '../numbers.ts';
import { type InstanceRow, rowKey } from './instance-row.ts';
import { type ItemFacts, isUsable } from './model.ts';
import { compareText } from './place-instances.ts';

export interface FormInput {
  /** In scheduling order. */
  readonly requests: readonly RunRequest[];
  readonly rows: readonly InstanceRow[];
  /** Subjects that IAM reports; undefined: not known yet, none counts as absent. */
  readonly subjects: ReadonlySet<string> | undefined;
  /** In the order in which they became known; for components that run wherever they fit. */
  readonly nodes: readonly {
    readonly nodeId: string;
    readonly runtimes: readonly { readonly runtimeId: string; readonly type: string }[];
  }[];
  readonly facts: (itemId: string, version: string) => ItemFacts;
  /** Ids of a new instance; throws `noMemory`. */
  readonly ids: (ident: InstanceIdent) => { readonly uid: number; readonly gid: number };
  /** Throws when a stored row cannot be used as it is. */
  readonly check: (row: InstanceRow) => void;
  readonly nowMs: number;
}

/** An instance that cannot even be created. */
export interface Unformed {
  readonly ident: InstanceIdent;
  readonly version: string;
  readonly error: ErrorInfo;
  /** It would be created if an id were free. */
  readonly lacksId?: true;
}

export interface Formed {
  /** In scheduling order. Places are those of before; new ones have none. */
  readonly active: readonly InstanceRow[];
  /** Cached and disabled ones, newly stamped where they just became so. */
  readonly inactive: readonly InstanceRow[];
  readonly unformed: readonly Unformed[];
}

/** Priority descending, then item id; the input order decides between equals. */
export function sortRequests(requests: readonly RunRequest[]): RunRequest[] {
  return [...requests].sort((a, b) => b.priority - a.priority || compareText(a.itemId, b.itemId));
}

export function formInstances(input: FormInput): Formed {
  const stored = new Map(input.rows.map((row) => [rowKey(row), row]));
  const active = new Map<string, InstanceRow>();
  const disabled = new Map<string, InstanceRow>();
  const unformed: Unformed[] = [];

  let room = LAUNCHER.maxInstances;
  for (const request of input.requests) {
    if (request.numInstances > room) {
      unformed.push(tooMany(request, room));
      continue;
    }
    room -= request.numInstances;
    const isAbsent = request.subject.isUnitSubject && input.subjects?.has(request.subject.id) === false;
    const wishes = wishesOf(request, input, stored);
    if (wishes.length === 0 && isSpread(request)) unformed.push(fitsNowhere(request, input));
    for (const wish of wishes) {
      const key = rowKey({ ident: wish.ident, version: request.version });
      if (active.has(key) || disabled.has(key)) continue;
      try {
        const row = formRow(request, wish, stored.get(key), input);
        if (isAbsent) disabled.set(key, retire(row, 'disabled', stored.get(key), input.nowMs));
        else active.set(key, { ...row, state: 'active' });
      } catch (error) {
        const lacksId = isAosError(error, 'noMemory') && { lacksId: true as const };
        unformed.push({ ident: wish.ident, version: request.version, error: toErrorInfo(error), ...lacksId });
      }
    }
  }

  const inactive = [...disabled.values()];
  for (const [key, row] of stored) {
    if (active.has(key) || disabled.has(key)) continue;
    // A copy that was pinned is formed anew each time and leaves nothing behind.
    if (row.isPinned) continue;
    inactive.push(retire(row, 'cached', row, input.nowMs));
  }
  return { active: [...active.values()], inactive, unformed };
}

/** One request that asks for the impossible stops no other. */
function tooMany({ itemId, subject, type, version, numInstances }: RunRequest, room: number): Unformed {
  const error = new AosError('noMemory', `${numInstances} instances, there is room for ${room} more`);
  const ident = { itemId, subjectId: subject.id, instance: 0, type, preinstalled: false };
  return { ident, version, error: toErrorInfo(error) };
}

/** One copy for each runtime that fits. */
function isSpread({ type, numInstances }: RunRequest): boolean {
  return type === 'component' && numInstances === 0;
}

/** AosCore 9.1 says nothing of a component that runs nowhere; here it is an instance that failed. */
function fitsNowhere({ itemId, subject, type, version }: RunRequest, input: FormInput): Unformed {
  const facts = input.facts(itemId, version);
  const unreadable = 'error' in facts ? facts : facts.manifests.find((manifest) => !isUsable(manifest));
  const error =
    unreadable && 'error' in unreadable
      ? unreadable.error
      : toErrorInfo(new AosError('notFound', 'no runtimes with requested runtime type'));
  return { ident: { itemId, subjectId: subject.id, instance: 0, type, preinstalled: false }, version, error };
}

interface Wish {
  readonly ident: InstanceIdent;
  readonly pinned?: { readonly nodeId: string; readonly runtimeId: string };
}

function wishesOf(request: RunRequest, input: FormInput, stored: ReadonlyMap<string, InstanceRow>): Wish[] {
  const ident = (instance: number): InstanceIdent => ({
    itemId: request.itemId,
    subjectId: request.subject.id,
    instance,
    type: request.type,
    preinstalled: false,
  });
  if (!isSpread(request)) {
    return Array.from({ length: request.numInstances }, (_, instance) => ({ ident: ident(instance) }));
  }
  return spreadComponent(request, input, stored, ident);
}

/** A component that runs wherever it fits: one copy per runtime of a type that its item names. */
function spreadComponent(
  request: RunRequest,
  input: FormInput,
  stored: ReadonlyMap<string, InstanceRow>,
  ident: (instance: number) => InstanceIdent,
): Wish[] {
  const facts = input.facts(request.itemId, request.version);
  if ('error' in facts || !facts.manifests.every(isUsable)) return [];
  const types = new Set(
    facts.manifests.flatMap((manifest) => (isUsable(manifest) && manifest.namesRuntimes ? manifest.runtimes : [])),
  );
  const places = input.nodes.flatMap(({ nodeId, runtimes }) =>
    runtimes.filter(({ type }) => types.has(type)).map(({ runtimeId }) => ({ nodeId, runtimeId })),
  );
  const mine = [...stored.values()].filter(
    (row) =>
      row.isPinned &&
      row.version === request.version &&
      row.ident.itemId === request.itemId &&
      row.ident.subjectId === request.subject.id,
  );
  // A copy keeps its index as long as its place exists, so that it is not taken for another one.
  const indexAt = new Map(mine.map((row) => [`${row.nodeId}\n${row.runtimeId}`, row.ident.instance]));
  const used = new Set(places.flatMap(({ nodeId, runtimeId }) => indexAt.get(`${nodeId}\n${runtimeId}`) ?? []));
  let next = 0;
  return places.map((pinned) => {
    let index = indexAt.get(`${pinned.nodeId}\n${pinned.runtimeId}`);
    if (index === undefined) {
      while (used.has(next)) next += 1;
      index = next;
      used.add(index);
    }
    return { ident: ident(index), pinned };
  });
}

function formRow(request: RunRequest, wish: Wish, stored: InstanceRow | undefined, input: FormInput): InstanceRow {
  const given = {
    ownerId: request.ownerId,
    subjectType: request.subject.type,
    isUnitSubject: request.subject.isUnitSubject,
    priority: request.priority,
    labels: request.labels,
    isPinned: wish.pinned !== undefined,
  };
  const place = wish.pinned ?? {};
  if (stored) {
    input.check(stored);
    return { ...stored, ...given, ...place };
  }
  const { uid, gid } = input.ids(wish.ident);
  return {
    ident: wish.ident,
    version: request.version,
    ...given,
    state: 'active',
    nodeId: '',
    prevNodeId: '',
    runtimeId: '',
    manifestDigest: '',
    uid,
    gid,
    stampedAtMs: input.nowMs,
    storagePath: '',
    statePath: '',
    because: '',
    ...place,
  };
}

/** Out of the active ones: without a place, stamped when it happens (spec/decisions.md CM-40). */
function retire(
  row: InstanceRow,
  state: 'cached' | 'disabled',
  stored: InstanceRow | undefined,
  nowMs: number,
): InstanceRow {
  if (stored?.state === state) return { ...row, state };
  return {
    ...row,
    state,
    nodeId: '',
    prevNodeId: row.nodeId,
    runtimeId: '',
    stampedAtMs: nowMs,
    because: state === 'cached' ? 'no longer wanted' : `its subject ${row.ident.subjectId} is not on this unit`,
  };
}
