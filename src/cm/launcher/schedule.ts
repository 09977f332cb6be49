/** One round of scheduling: from requests to rows with places (spec/cm.md 4.3–4.8, 4.11). */
import { AosError, type ErrorInfo, type InstanceIdent, instanceKey, toErrorInfo } from '../../core/index.ts';
import type { RunRequest } from '../model.ts';
import { LAUNCHER } from '../numbers.ts';
import { type Formed, formInstances, type Unformed } from './form-instances.ts';
import { IdPool } from './id-pool.ts';
import { type InstanceRow, rowKey } from './instance-row.ts';
import { type ItemDocuments, itemFacts, unreadableItem } from './item-facts.ts';
import type { Amounts, ItemFacts, NodeFacts, Placement, PlacementInput, WantedInstance } from './model.ts';
import { averageKey } from './node-facts.ts';
import { placeInstances } from './place-instances.ts';
import type { Scheduled } from './status-board.ts';

export interface ItemSource {
  /** Throws when the item is not stored or cannot be read at all. */
  readItem(itemId: string, version: string): Promise<ItemDocuments>;
}

export interface StorageRequest {
  readonly ident: InstanceIdent;
  readonly uid: number;
  readonly gid: number;
  /** Bytes; 0: none. */
  readonly storageQuota: number;
  readonly stateQuota: number;
}

/** An instance that has data, and the user that the data belongs to. */
export interface DataOwner {
  readonly ident: InstanceIdent;
  readonly uid: number;
  readonly gid: number;
}

/** Directories of instances on the main node. */
export interface InstanceStorage {
  /** All instances that have a storage or a state. */
  owners(): readonly DataOwner[];
  /** Paths relative to the base directories, empty for none; can be repeated. */
  prepare(request: StorageRequest): Promise<{ readonly storagePath: string; readonly statePath: string }>;
  /** The instance does not run for now: its data stays. */
  release(ident: InstanceIdent): Promise<void>;
  /** The instance is gone for good, with its data. */
  remove(ident: InstanceIdent): Promise<void>;
  budgets(): Promise<PlacementInput['disk']>;
  stateChecksum(ident: InstanceIdent): string | undefined;
}

/** Ids that the host itself uses. */
export interface SystemIds {
  readonly uids: ReadonlySet<number>;
  readonly gids: ReadonlySet<number>;
}

export interface ScheduleInput {
  readonly mode: PlacementInput['mode'];
  readonly requests: readonly RunRequest[];
  readonly rows: readonly InstanceRow[];
  /** Undefined: not known yet. */
  readonly subjects: ReadonlySet<string> | undefined;
  readonly nodes: readonly NodeFacts[];
  /** Where an instance was reported last, by ident. */
  readonly running: ReadonlyMap<string, { readonly nodeId: string; readonly runtimeId: string }>;
  readonly averages: ReadonlyMap<string, Amounts>;
  readonly items: ItemSource;
  readonly storage: InstanceStorage;
  readonly systemIds: SystemIds;
  readonly nowMs: number;
}

export interface Schedule {
  /** In scheduling order. */
  readonly active: readonly Scheduled[];
  readonly inactive: readonly InstanceRow[];
  readonly unformed: readonly Unformed[];
}

export async function schedule(input: ScheduleInput): Promise<Schedule> {
  const facts = await readFacts(input);
  const formed = form(input, facts);
  const disk = await input.storage.budgets();
  const wanted = wantedInstances(formed, facts, input);
  const rowOf = new Map(wanted.map((one, index) => [one, formed.active[index]!]));
  const broken = new Map<WantedInstance, ErrorInfo>();

  const place = () => {
    const instances = wanted.filter((one) => !broken.has(one));
    return placeInstances({ mode: input.mode, nodes: input.nodes, instances, disk }, { explain: () => false });
  };
  let placed = place();
  let prepared = await prepareAll(placed, rowOf, input.storage, broken);
  if (broken.size > 0) {
    // What the broken ones had reserved is free again (spec/decisions.md CM-33).
    placed = place();
    prepared = await prepareAll(placed, rowOf, input.storage, broken);
  }
  const placementOf = new Map(placed.map((placement) => [placement.wanted, placement]));
  const active = wanted.map((one): Scheduled => {
    const row = rowOf.get(one)!;
    const error = broken.get(one);
    if (error) return { row: withoutPlace(row, 'its storage or state cannot be set up'), error };
    return scheduled(row, placementOf.get(one)!, prepared.get(one));
  });
  return { active, inactive: formed.inactive, unformed: formed.unformed };
}

/** Where everything would go in a launch, and why not elsewhere; nothing is prepared or kept. */
export async function explainPlacement(input: ScheduleInput): Promise<Placement[]> {
  const facts = await readFacts(input);
  const instances = wantedInstances(form(input, facts), facts, input);
  const disk = await input.storage.budgets();
  return placeInstances({ mode: 'launch', nodes: input.nodes, instances, disk });
}

/** Facts of every item that is requested. */
async function readFacts({ requests, items }: ScheduleInput): Promise<Map<string, ItemFacts>> {
  const pairs = new Map(requests.map(({ itemId, version }) => [factsKey(itemId, version), { itemId, version }]));
  const read = async ({ itemId, version }: { itemId: string; version: string }) => {
    try {
      return itemFacts(await items.readItem(itemId, version));
    } catch (error) {
      return unreadableItem(error);
    }
  };
  return new Map(
    await Promise.all([...pairs].map(async ([key, pair]) => [key, await read(pair)] as [string, ItemFacts])),
  );
}

function factsKey(itemId: string, version: string): string {
  return `${itemId}\n${version}`;
}

function form(input: ScheduleInput, facts: ReadonlyMap<string, ItemFacts>): Formed {
  const { uids, gids } = input.systemIds;
  const range = { first: LAUNCHER.firstId, last: LAUNCHER.lastId };
  const uidPool = new IdPool({ ...range, isTaken: (id) => uids.has(id), what: 'uid' });
  const gidPool = new IdPool({ ...range, isTaken: (id) => gids.has(id), what: 'gid' });
  const conflicts = new Set<string>();
  for (const row of input.rows) {
    const holds = uidPool.hold(instanceKey(row.ident), row.uid) && gidPool.hold(row.ident.itemId, row.gid);
    if (!holds) conflicts.add(rowKey(row));
  }
  return formInstances({
    requests: input.requests,
    rows: input.rows,
    subjects: input.subjects,
    nodes: input.nodes,
    facts: (itemId, version) => facts.get(factsKey(itemId, version))!,
    ids: (ident) => ({ uid: uidPool.get(instanceKey(ident)), gid: gidPool.get(ident.itemId) }),
    check: (row) => {
      if (conflicts.has(rowKey(row)))
        throw new AosError('alreadyExist', `uid ${row.uid} or gid ${row.gid} is not free`);
    },
    nowMs: input.nowMs,
  });
}

function wantedInstances(
  formed: Formed,
  facts: ReadonlyMap<string, ItemFacts>,
  { rows, running, averages }: ScheduleInput,
): WantedInstance[] {
  // Another version of the same instance tells where it runs now.
  const placeOfIdent = new Map(
    rows
      .filter(({ state, nodeId }) => state === 'active' && nodeId !== '')
      .map((row) => [instanceKey(row.ident), { nodeId: row.nodeId, runtimeId: row.runtimeId }]),
  );
  return formed.active.map((row) => {
    const key = instanceKey(row.ident);
    const elsewhere = placeOfIdent.get(key) ?? running.get(key);
    const present =
      row.nodeId !== ''
        ? { nodeId: row.nodeId, runtimeId: row.runtimeId, manifestDigest: row.manifestDigest }
        : elsewhere && { ...elsewhere, manifestDigest: row.manifestDigest };
    const average = present && averages.get(averageKey(row.ident, present.runtimeId));
    return {
      ident: row.ident,
      version: row.version,
      priority: row.priority,
      labels: row.labels,
      item: facts.get(factsKey(row.ident.itemId, row.version))!,
      ...(row.isPinned ? { pinned: { nodeId: row.nodeId, runtimeId: row.runtimeId } } : {}),
      ...(present ? { present } : {}),
      ...(average ? { average } : {}),
    };
  });
}

interface Paths {
  readonly storagePath: string;
  readonly statePath: string;
}

async function prepareAll(
  placements: readonly Placement[],
  rowOf: ReadonlyMap<WantedInstance, InstanceRow>,
  storage: InstanceStorage,
  broken: Map<WantedInstance, ErrorInfo>,
): Promise<Map<WantedInstance, Paths>> {
  const prepared = new Map<WantedInstance, Paths>();
  for (const placement of placements) {
    const { wanted } = placement;
    if (!placement.place || !placement.manifest || wanted.ident.type !== 'service') continue;
    const { quotas } = placement.manifest;
    const { ident, uid, gid } = rowOf.get(wanted)!;
    try {
      const request = { ident, uid, gid, storageQuota: quotas.storage ?? 0, stateQuota: quotas.state ?? 0 };
      prepared.set(wanted, await storage.prepare(request));
    } catch (error) {
      broken.set(wanted, toErrorInfo(error));
    }
  }
  return prepared;
}

function scheduled(row: InstanceRow, placement: Placement, paths: Paths | undefined): Scheduled {
  if (!placement.place) {
    const { because, error, shortage } = placement;
    return { row: withoutPlace(row, because), error, shortage };
  }
  const { place, manifest, manifestDigest, because } = placement;
  const hasMoved = place.nodeId !== row.nodeId;
  const { alertRules: _, ...rest } = row;
  const isKept = !manifest;
  const alertRules = isKept ? row.alertRules : manifest.alertRules;
  return {
    row: {
      ...rest,
      ...place,
      ...(hasMoved ? { prevNodeId: row.nodeId } : {}),
      manifestDigest,
      // What cannot be read at the moment is described as before.
      ...(isKept ? {} : (paths ?? { storagePath: '', statePath: '' })),
      ...(alertRules ? { alertRules } : {}),
      because: hasMoved || row.because === '' ? because : row.because,
    },
  };
}

function withoutPlace(row: InstanceRow, because: string): InstanceRow {
  // A pinned copy keeps the place that it belongs to; without a manifest nothing is sent there.
  if (row.isPinned) return { ...row, manifestDigest: '', because };
  return { ...row, nodeId: '', runtimeId: '', prevNodeId: row.nodeId || row.prevNodeId, because };
}
