/** Subjects, the units that they are assigned to, and the items that they have subscribed to (spec/product.md W5). */
import { AosError } from '../../core/index.ts';
import type { Sql } from './sql.ts';

export interface Subject {
  readonly id: string;
  /** A user is at one unit at a time, and its states follow it; a group is at many at once. */
  readonly type: 'group' | 'user';
  readonly title: string;
  /** '' for one of the OEM. */
  readonly fleet: string;
  /** Of subscriptions that say nothing else; higher is placed first. */
  readonly priority: number;
  /** Its instances run only while the unit itself reports the subject. */
  readonly reported: boolean;
}

export interface Subscription {
  readonly itemId: string;
  readonly version: string;
  /** 0 for a component: one on each runtime that fits. */
  readonly numInstances: number;
  /** Absent: that of the subject. */
  readonly priority?: number;
  readonly labels: readonly string[];
}

export interface Arrival {
  readonly left: readonly string[];
  readonly from: string | undefined;
}

type SubjectRow = Omit<Subject, 'reported'> & { readonly reported: number };
type SubscriptionRow = Omit<Subscription, 'labels' | 'priority'> & { labels: string; priority: number | null };

const subjectFrom = (row: SubjectRow): Subject => ({ ...row, reported: row.reported === 1 });
const subscriptionFrom = ({ labels, priority, ...row }: SubscriptionRow): Subscription => ({
  ...row,
  ...(priority !== null && { priority }),
  labels: JSON.parse(labels) as string[],
});

export class SubjectStore {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  async list(): Promise<Subject[]> {
    return (await this.#sql.all<SubjectRow>('SELECT * FROM subjects ORDER BY id')).map(subjectFrom);
  }

  async find(id: string): Promise<Subject | undefined> {
    const row = await this.#sql.get<SubjectRow>('SELECT * FROM subjects WHERE id = ?', id);
    return row && subjectFrom(row);
  }

  /** Throws `notFound`. */
  async get(id: string): Promise<Subject> {
    const subject = await this.find(id);
    if (!subject) throw new AosError('notFound', `there is no subject "${id}"; "aosctl subjects" lists all`);
    return subject;
  }

  async put({ id, type, title, fleet, priority, reported }: Subject): Promise<void> {
    await this.#sql.run(
      `INSERT INTO subjects (id, type, title, fleet, priority, reported) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET title = excluded.title, priority = excluded.priority, reported = excluded.reported`,
      id,
      type,
      title,
      fleet,
      priority,
      reported ? 1 : 0,
    );
  }

  async delete(id: string): Promise<void> {
    await this.#sql.run('DELETE FROM subjects WHERE id = ?', id);
  }

  async units(id: string): Promise<string[]> {
    const rows = await this.#sql.all<{ systemId: string }>(
      'SELECT systemId FROM subjectUnits WHERE subjectId = ? ORDER BY systemId',
      id,
    );
    return rows.map(({ systemId }) => systemId);
  }

  async ofUnit(systemId: string): Promise<Subject[]> {
    const rows = await this.#sql.all<SubjectRow>(
      `SELECT subjects.* FROM subjects JOIN subjectUnits ON subjectUnits.subjectId = subjects.id
         WHERE systemId = ? ORDER BY id`,
      systemId,
    );
    return rows.map(subjectFrom);
  }

  /**
   * Assigns a subject; a user leaves the unit where it was. Answers the units that it has left, and the one that a user
   * comes from: that has been left now, or before.
   */
  async assign({ id, type }: Subject, systemId: string): Promise<Arrival> {
    const left = type === 'user' ? (await this.units(id)).filter((unit) => unit !== systemId) : [];
    for (const unit of left) await this.withdraw(id, unit);
    const departure = await this.#sql.get<{ systemId: string }>(
      'DELETE FROM departures WHERE subjectId = ? RETURNING systemId',
      id,
    );
    await this.#sql.run(
      'INSERT INTO subjectUnits (subjectId, systemId) VALUES (?, ?) ON CONFLICT DO NOTHING',
      ...[id, systemId],
    );
    return { left, from: departure?.systemId };
  }

  /** False when it was not assigned. */
  async withdraw(id: string, systemId: string): Promise<boolean> {
    const changes = await this.#sql.run('DELETE FROM subjectUnits WHERE subjectId = ? AND systemId = ?', id, systemId);
    if (changes === 0) return false;
    await this.#sql.run(
      `INSERT INTO departures (subjectId, systemId) SELECT id, CAST(? AS TEXT) FROM subjects WHERE id = ? AND type = 'user'
         ON CONFLICT (subjectId) DO UPDATE SET systemId = excluded.systemId`,
      ...[systemId, id],
    );
    return true;
  }

  async subscriptions(id: string): Promise<Subscription[]> {
    const rows = await this.#sql.all<SubscriptionRow>(
      `SELECT itemId, version, numInstances, priority, labels FROM subscriptions WHERE subjectId = ? ORDER BY itemId`,
      id,
    );
    return rows.map(subscriptionFrom);
  }

  /** All units of the subject take the version of the subscription, whatever a campaign has brought to them before. */
  async subscribe(id: string, { itemId, version, numInstances, priority, labels }: Subscription): Promise<void> {
    await this.#sql.run(
      `INSERT INTO subscriptions (subjectId, itemId, version, numInstances, priority, labels) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (subjectId, itemId) DO UPDATE SET
           version = excluded.version, numInstances = excluded.numInstances, priority = excluded.priority,
           labels = excluded.labels`,
      ...[id, itemId, version, numInstances, priority ?? null, JSON.stringify(labels)],
    );
    await this.#sql.run(
      'DELETE FROM releases WHERE itemId = ? AND systemId IN (SELECT systemId FROM subjectUnits WHERE subjectId = ?)',
      ...[itemId, id],
    );
  }

  /** False when there was none. */
  async unsubscribe(id: string, itemId: string): Promise<boolean> {
    const changes = await this.#sql.run('DELETE FROM subscriptions WHERE subjectId = ? AND itemId = ?', id, itemId);
    return changes > 0;
  }

  /** Subjects that have subscribed to this version. */
  async subscribersOf(itemId: string, version: string): Promise<string[]> {
    const rows = await this.#sql.all<{ subjectId: string }>(
      'SELECT subjectId FROM subscriptions WHERE itemId = ? AND version = ? ORDER BY subjectId',
      itemId,
      version,
    );
    return rows.map(({ subjectId }) => subjectId);
  }
}
