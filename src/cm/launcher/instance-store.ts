/** Rows of instances, the requests they come from, and overridden variables, in `aos-cm.db` (spec/cm.md 10). */
import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';
import { isDeepStrictEqual } from 'node:util';
import type { ItemType } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';
import type { RunRequest } from '../model.ts';
import type { EnvOverride } from './env-overrides.ts';
import { type InstanceRow, type RowState, rowKey } from './instance-row.ts';

/** Part of version 1 of the schema. */
export const LAUNCHER_TABLES = `
CREATE TABLE launcher_requests (position INTEGER PRIMARY KEY, request TEXT NOT NULL) STRICT;
CREATE TABLE launcher_instances (
  item_id TEXT NOT NULL, subject_id TEXT NOT NULL, instance INTEGER NOT NULL, type TEXT NOT NULL,
  preinstalled INTEGER NOT NULL, version TEXT NOT NULL,
  owner_id TEXT NOT NULL, subject_type TEXT NOT NULL, is_unit_subject INTEGER NOT NULL,
  priority INTEGER NOT NULL, labels TEXT NOT NULL, state TEXT NOT NULL,
  node_id TEXT NOT NULL, prev_node_id TEXT NOT NULL, runtime_id TEXT NOT NULL, manifest_digest TEXT NOT NULL,
  uid INTEGER NOT NULL, gid INTEGER NOT NULL, stamped_at_ms INTEGER NOT NULL, is_pinned INTEGER NOT NULL,
  storage_path TEXT NOT NULL, state_path TEXT NOT NULL, alert_rules TEXT, because TEXT NOT NULL,
  position INTEGER NOT NULL,
  PRIMARY KEY (item_id, subject_id, instance, type, preinstalled, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE launcher_overrides (position INTEGER PRIMARY KEY, entry TEXT NOT NULL) STRICT;
`;

const COLUMNS = [
  'item_id',
  'subject_id',
  'instance',
  'type',
  'preinstalled',
  'version',
  'owner_id',
  'subject_type',
  'is_unit_subject',
  'priority',
  'labels',
  'state',
  'node_id',
  'prev_node_id',
  'runtime_id',
  'manifest_digest',
  'uid',
  'gid',
  'stamped_at_ms',
  'is_pinned',
  'storage_path',
  'state_path',
  'alert_rules',
  'because',
  'position',
] as const;

const KEY = 'item_id = ? AND subject_id = ? AND instance = ? AND type = ? AND preinstalled = ? AND version = ?';

export interface StoredLauncher {
  readonly requests: readonly RunRequest[];
  /** Active rows in scheduling order, then the others. */
  readonly rows: readonly InstanceRow[];
}

/** Holds what is stored in memory too, and writes only what differs, in one transaction per call. */
export class InstanceStore {
  readonly #database: DatabaseSync;
  #requests: readonly RunRequest[];
  #rows = new Map<string, { readonly row: InstanceRow; readonly position: number }>();
  #inOrder: readonly InstanceRow[] = [];
  /** Rows that a node shall run, by node. */
  #byNode: ReadonlyMap<string, readonly InstanceRow[]> = new Map();
  #overrides: readonly EnvOverride[];

  constructor(database: DatabaseSync) {
    this.#database = database;
    this.#requests = this.#list<RunRequest>('launcher_requests', 'request');
    this.#overrides = this.#list<EnvOverride>('launcher_overrides', 'entry');
    for (const record of database.prepare('SELECT * FROM launcher_instances').iterate()) {
      const row = readRow(record);
      this.#rows.set(rowKey(row), { row, position: Number(record.position) });
    }
    const stored = [...this.#rows.values()].sort((a, b) => a.position - b.position);
    this.#index(stored.map(({ row }) => row));
  }

  get requests(): readonly RunRequest[] {
    return this.#requests;
  }

  /** In scheduling order. */
  get rows(): readonly InstanceRow[] {
    return this.#inOrder;
  }

  /** Active rows with their place on the node, in scheduling order. */
  rowsOf(nodeId: string): readonly InstanceRow[] {
    return this.#byNode.get(nodeId) ?? [];
  }

  get overrides(): readonly EnvOverride[] {
    return this.#overrides;
  }

  /** Makes the stored state exactly this; writes nothing when it is so already. */
  save({ requests, rows }: StoredLauncher): void {
    const next = new Map(rows.map((row, position) => [rowKey(row), { row, position }]));
    const changed = [...next].filter(([key, value]) => !isDeepStrictEqual(this.#rows.get(key), value));
    const removed = [...this.#rows].filter(([key]) => !next.has(key));
    const hasNewRequests = !isDeepStrictEqual(requests, this.#requests);
    if (changed.length === 0 && removed.length === 0 && !hasNewRequests) return;
    transaction(
      this.#database,
      () => {
        if (hasNewRequests) this.#replace('launcher_requests', 'request', requests);
        const remove = this.#database.prepare(`DELETE FROM launcher_instances WHERE ${KEY}`);
        for (const [, { row }] of removed) remove.run(...keyOf(row));
        const put = this.#database.prepare(
          `INSERT OR REPLACE INTO launcher_instances (${COLUMNS.join(', ')}) VALUES (${COLUMNS.map(() => '?').join(', ')})`,
        );
        for (const [, { row, position }] of changed) put.run(...keyOf(row), ...valuesOf(row), position);
      },
      'launcher.save',
    );
    this.#requests = requests;
    this.#rows = next;
    this.#index(rows);
  }

  #index(rows: readonly InstanceRow[]): void {
    this.#inOrder = rows;
    const isPlaced = ({ state, nodeId, manifestDigest }: InstanceRow) =>
      state === 'active' && nodeId !== '' && manifestDigest !== '';
    this.#byNode = Map.groupBy(rows.filter(isPlaced), ({ nodeId }) => nodeId);
  }

  saveOverrides(overrides: readonly EnvOverride[]): void {
    transaction(
      this.#database,
      () => this.#replace('launcher_overrides', 'entry', overrides),
      'launcher.save-overrides',
    );
    this.#overrides = overrides;
  }

  #list<T>(table: string, column: string): T[] {
    const records = this.#database.prepare(`SELECT ${column} AS text FROM ${table} ORDER BY position`).all();
    return records.map(({ text }) => JSON.parse(String(text)) as T);
  }

  #replace(table: string, column: string, values: readonly unknown[]): void {
    this.#database.exec(`DELETE FROM ${table}`);
    const put = this.#database.prepare(`INSERT INTO ${table} (position, ${column}) VALUES (?, ?)`);
    values.forEach((value, position) => {
      put.run(position, JSON.stringify(value));
    });
  }
}

function keyOf({ ident, version }: InstanceRow) {
  return [ident.itemId, ident.subjectId, ident.instance, ident.type, Number(ident.preinstalled), version] as const;
}

function valuesOf(row: InstanceRow) {
  return [
    row.ownerId,
    row.subjectType,
    Number(row.isUnitSubject),
    row.priority,
    JSON.stringify(row.labels),
    row.state,
    row.nodeId,
    row.prevNodeId,
    row.runtimeId,
    row.manifestDigest,
    row.uid,
    row.gid,
    row.stampedAtMs,
    Number(row.isPinned),
    row.storagePath,
    row.statePath,
    row.alertRules ? JSON.stringify(row.alertRules) : null,
    row.because,
  ] as const;
}

function readRow(record: Record<string, SQLOutputValue>): InstanceRow {
  const text = (name: (typeof COLUMNS)[number]) => String(record[name]);
  const number = (name: (typeof COLUMNS)[number]) => Number(record[name]);
  return {
    ident: {
      itemId: text('item_id'),
      subjectId: text('subject_id'),
      instance: number('instance'),
      type: text('type') as ItemType,
      preinstalled: number('preinstalled') === 1,
    },
    version: text('version'),
    ownerId: text('owner_id'),
    subjectType: text('subject_type') as 'group' | 'user',
    isUnitSubject: number('is_unit_subject') === 1,
    priority: number('priority'),
    labels: JSON.parse(text('labels')) as string[],
    state: text('state') as RowState,
    nodeId: text('node_id'),
    prevNodeId: text('prev_node_id'),
    runtimeId: text('runtime_id'),
    manifestDigest: text('manifest_digest'),
    uid: number('uid'),
    gid: number('gid'),
    stampedAtMs: number('stamped_at_ms'),
    isPinned: number('is_pinned') === 1,
    storagePath: text('storage_path'),
    statePath: text('state_path'),
    ...(record.alert_rules === null ? {} : { alertRules: JSON.parse(text('alert_rules')) }),
    because: text('because'),
  };
}
