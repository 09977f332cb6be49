/** What has happened: events of units, and changes by people. Bounded. */
import type { DatabaseSync } from 'node:sqlite';
import type { Actor } from '../access/roles.ts';
import type { UnitEvent } from '../units/events.ts';
import type { GroupCommit } from './group-commit.ts';
import { UnitCounter } from './unit-counter.ts';

export interface AuditEntry {
  readonly id: number;
  readonly at: string;
  readonly userName: string;
  readonly role: string;
  readonly method: string;
  readonly path: string;
  readonly why: string;
}

const EVENTS_PER_UNIT = 500;
const AUDIT_ENTRIES = 20_000;
const SLACK = 50;
const MAX_DATA_CHARACTERS = 4096;
/** What comes all the time, or is kept elsewhere, would push out what matters. */
const NOT_KEPT: ReadonlySet<string> = new Set(['status', 'monitoring', 'acknowledged', 'alerts']);

export class HistoryStore {
  readonly #database: DatabaseSync;
  readonly #counter = new UnitCounter(SLACK);

  readonly #group: GroupCommit;

  constructor(database: DatabaseSync, group: GroupCommit) {
    this.#database = database;
    this.#group = group;
  }

  /** With the next commit of the group. */
  addEvent(news: UnitEvent): void {
    if (!NOT_KEPT.has(news.event)) this.#group.note('an event', () => this.#insert(news));
  }

  #insert({ systemId, at, event, data }: UnitEvent): void {
    const text = JSON.stringify(data);
    this.#database
      .prepare('INSERT INTO unitEvents (systemId, at, event, data) VALUES (?, ?, ?, ?)')
      .run(systemId, at, event, text.length > MAX_DATA_CHARACTERS ? '{}' : text);
    if (!this.#counter.isDue(systemId)) return;
    this.#database
      .prepare(
        `DELETE FROM unitEvents WHERE id IN (SELECT id FROM (
           SELECT id, ROW_NUMBER() OVER (ORDER BY id DESC) AS age FROM unitEvents WHERE systemId = ?)
           WHERE age > ?)`,
      )
      .run(systemId, EVENTS_PER_UNIT);
  }

  /** The newest first. */
  events(systemId: string, limit: number): Pick<UnitEvent, 'at' | 'event' | 'data'>[] {
    this.#group.flush();
    const rows = this.#database
      .prepare('SELECT at, event, data FROM unitEvents WHERE systemId = ? ORDER BY id DESC LIMIT ?')
      .all(systemId, limit) as unknown as { at: string; event: UnitEvent['event']; data: string }[];
    return rows.map(({ data, ...row }) => ({ ...row, data: JSON.parse(data) as UnitEvent['data'] }));
  }

  addChange({ name, role }: Actor, method: string, path: string, why: string, now: Date): void {
    const { lastInsertRowid } = this.#database
      .prepare('INSERT INTO audit (at, userName, role, method, path, why) VALUES (?, ?, ?, ?, ?, ?)')
      .run(now.toISOString(), name, role, method, path, why);
    if (Number(lastInsertRowid) % SLACK !== 0) return;
    this.#database.prepare('DELETE FROM audit WHERE id <= (SELECT MAX(id) FROM audit) - ?').run(AUDIT_ENTRIES);
  }

  /** The newest first. */
  changes(limit: number, beforeId = Number.MAX_SAFE_INTEGER, userName?: string): AuditEntry[] {
    return this.#database
      .prepare('SELECT * FROM audit WHERE id < ? AND (userName = ? OR ? IS NULL) ORDER BY id DESC LIMIT ?')
      .all(beforeId, userName ?? null, userName ?? null, limit) as unknown as AuditEntry[];
  }
}
