/** What has happened: events of units, and changes by people. Bounded. */
import type { Actor } from '../access/roles.ts';
import type { UnitEvent } from '../model/unit-events.ts';
import type { Sql } from './sql.ts';
import type { UnitCounter } from './unit-counter.ts';

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

/** Whether an event is something that a person looks for later. */
export const isHistory = ({ event }: UnitEvent): boolean => !NOT_KEPT.has(event);

export class HistoryStore {
  readonly #sql: Sql;
  readonly #counter: UnitCounter;

  constructor(sql: Sql, counter: UnitCounter) {
    this.#sql = sql;
    this.#counter = counter;
  }

  async addEvent({ systemId, at, event, data }: UnitEvent): Promise<void> {
    const text = JSON.stringify(data);
    await this.#sql.run(
      'INSERT INTO unitEvents (systemId, at, event, data) VALUES (?, ?, ?, ?)',
      systemId,
      at,
      event,
      text.length > MAX_DATA_CHARACTERS ? '{}' : text,
    );
    if (!this.#counter.isDue(systemId)) return;
    await this.#sql.run(
      `DELETE FROM unitEvents WHERE id IN (SELECT id FROM (
           SELECT id, ROW_NUMBER() OVER (ORDER BY id DESC) AS age FROM unitEvents WHERE systemId = ?) AS aged
           WHERE age > ?)`,
      systemId,
      EVENTS_PER_UNIT,
    );
  }

  /** The newest first. */
  async events(systemId: string, limit: number): Promise<Pick<UnitEvent, 'at' | 'event' | 'data'>[]> {
    const rows = await this.#sql.all<{ at: string; event: UnitEvent['event']; data: string }>(
      'SELECT at, event, data FROM unitEvents WHERE systemId = ? ORDER BY id DESC LIMIT ?',
      systemId,
      limit,
    );
    return rows.map(({ data, ...row }) => ({ ...row, data: JSON.parse(data) as UnitEvent['data'] }));
  }

  async addChange({ name, role }: Actor, method: string, path: string, why: string, now: Date): Promise<void> {
    const added = await this.#sql.get<{ id: number }>(
      'INSERT INTO audit (at, userName, role, method, path, why) VALUES (?, ?, ?, ?, ?, ?) RETURNING id',
      now.toISOString(),
      name,
      role,
      method,
      path,
      why,
    );
    if (!added || added.id % SLACK !== 0) return;
    await this.#sql.run('DELETE FROM audit WHERE id <= (SELECT MAX(id) FROM audit) - ?', AUDIT_ENTRIES);
  }

  /** The newest first. */
  changes(limit: number, beforeId = Number.MAX_SAFE_INTEGER, userName?: string): Promise<AuditEntry[]> {
    return this.#sql.all<AuditEntry>(
      'SELECT * FROM audit WHERE id < ? AND (userName = ? OR CAST(? AS TEXT) IS NULL) ORDER BY id DESC LIMIT ?',
      beforeId,
      userName ?? null,
      userName ?? null,
      limit,
    );
  }
}
