/** What a desired status means for the rows of items (spec/cm.md 3.4, 3.5; spec/decisions.md CM-10, CM-11, CM-18). Pure. */
import { isDeepStrictEqual } from 'node:util';
import { type ErrorInfo, type ItemType, PLAUSIBLE_DATE_MS } from '../../core/index.ts';
import { type ItemRow, type ItemRowChange, itemKey } from './item-rows.ts';

/** An item as the desired status names it. */
export interface WantedItem {
  readonly itemId: string;
  readonly version: string;
  readonly type: ItemType;
  readonly indexDigest: string;
  /** Why it shall not be used although it is wanted: its instances did not become active (spec/beyond.md P-19). */
  readonly rejected?: ErrorInfo | undefined;
}

/** A change with what a person reads about it; without reason it is not worth an event. */
export type PlannedChange = ItemRowChange & { readonly because?: string };

export interface DownloadPlan {
  readonly changes: readonly PlannedChange[];
  /** Wanted items that must become `pending` or `failed`. */
  readonly fetch: readonly ItemRow[];
  /** Wanted items that are there already and are looked through. */
  readonly verify: readonly ItemRow[];
  /** Wanted under a version that is on the unit with other content; what is there stays. */
  readonly conflicting: readonly WantedItem[];
}

/** Before the download: rows that nobody wants any more go, wanted ones come. */
export function planDownload(rows: readonly ItemRow[], wanted: readonly WantedItem[], nowMs: number): DownloadPlan {
  const wantedKeys = new Set(wanted.map(itemKey));
  const rowOf = new Map(rows.map((row) => [itemKey(row), row]));
  const stale = rows.filter(
    (row) => !wantedKeys.has(itemKey(row)) && ['downloading', 'pending', 'failed'].includes(row.state),
  );
  const fetch: ItemRow[] = [];
  const verify: ItemRow[] = [];
  const puts: PlannedChange[] = [];
  const conflicting: WantedItem[] = [];
  for (const { rejected, ...item } of uniqueItems(wanted)) {
    const row = rowOf.get(itemKey(item));
    if (rejected) {
      const put: ItemRow = { ...item, state: 'failed', error: rejected, changedAtMs: nowMs };
      if (row?.state !== 'failed' || !isDeepStrictEqual(row.error, rejected)) {
        puts.push({ put, because: rejected.message });
      }
      continue;
    }
    if (row && (row.state === 'installed' || row.state === 'pending')) {
      verify.push(row);
      if (row.indexDigest !== item.indexDigest) conflicting.push(item);
      continue;
    }
    const next: ItemRow = { ...item, state: 'downloading', changedAtMs: nowMs };
    fetch.push(next);
    if (row?.state !== 'downloading' || row.indexDigest !== item.indexDigest || row.type !== item.type) {
      puts.push({ put: next, because: becauseOf(row) });
    }
  }
  const drops = stale.map((row): PlannedChange => ({ drop: row, because: 'the desired status does not name it' }));
  return { changes: [...drops, ...puts], fetch, verify, conflicting };
}

function becauseOf(row: ItemRow | undefined): string {
  if (row?.state === 'removed') return 'the desired status names it again';
  if (row?.state === 'failed')
    return `the desired status still names it; it failed before: ${row.error?.message ?? ''}`;
  return 'the desired status names it';
}

export interface InstallFacts {
  /** Why wanted items are not whole, by `itemKey`; absent: whole. */
  readonly unsound: ReadonlyMap<string, ErrorInfo>;
  /** Whether an instance runs, or may have to run, this version. */
  readonly isUsed: (row: ItemRow) => boolean;
  readonly nowMs: number;
}

/**
 * At the end of an update: wanted items are installed, others removed. A replaced version stays installed as long as
 * an instance uses it or the version that replaces it is not sound.
 */
export function planInstall(
  rows: readonly ItemRow[],
  wanted: readonly WantedItem[],
  facts: InstallFacts,
): PlannedChange[] {
  const wantedKeys = new Set(wanted.map(itemKey));
  const wantedById = new Map(wanted.map((item) => [item.itemId, item]));
  return rows.flatMap((row): PlannedChange[] => {
    const change = (state: ItemRow['state'], because: string, error?: ErrorInfo): PlannedChange[] => [
      { put: { ...row, state, error, changedAtMs: facts.nowMs }, because },
    ];
    if (wantedKeys.has(itemKey(row))) {
      const error = facts.unsound.get(itemKey(row));
      if (error) return row.state === 'failed' && row.error ? [] : change('failed', error.message, error);
      return row.state === 'installed' ? [] : change('installed', 'it is on the unit, whole');
    }
    if (row.state === 'removed') return [];
    const successor = wantedById.get(row.itemId);
    if (successor && row.state === 'installed' && (facts.unsound.has(itemKey(successor)) || facts.isUsed(row))) {
      return [];
    }
    return change('removed', successor ? `version ${successor.version} replaces it` : 'the desired status dropped it');
  });
}

/**
 * Rows that were removed so long ago that they may go for good. With a clock that was never set nobody knows how old a row is:
 * it stays until its room is needed.
 */
export function outdatedItems(rows: readonly ItemRow[], ttlMs: number, nowMs: number): ItemRow[] {
  return rows.filter(
    ({ state, changedAtMs }) => state === 'removed' && changedAtMs >= PLAUSIBLE_DATE_MS && changedAtMs + ttlMs < nowMs,
  );
}

/** The removed item that goes first when room is needed. */
export function oldestRemoved(rows: readonly ItemRow[]): ItemRow | undefined {
  return rows.filter(({ state }) => state === 'removed').sort((a, b) => a.changedAtMs - b.changedAtMs)[0];
}

/** The first of equal entries counts. */
function uniqueItems(wanted: readonly WantedItem[]): WantedItem[] {
  const byKey = new Map<string, WantedItem>();
  for (const item of wanted) if (!byKey.has(itemKey(item))) byKey.set(itemKey(item), item);
  return [...byKey.values()];
}
