/** Subjects, the units that they are assigned to, and the items that they have subscribed to (spec/product.md W5). */
import type { DatabaseSync } from 'node:sqlite';
import { AosError } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';

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

type SubjectRow = Omit<Subject, 'reported'> & { readonly reported: number };
type SubscriptionRow = Omit<Subscription, 'labels' | 'priority'> & { labels: string; priority: number | null };

const subjectFrom = (row: SubjectRow): Subject => ({ ...row, reported: row.reported === 1 });
const subscriptionFrom = ({ labels, priority, ...row }: SubscriptionRow): Subscription => ({
  ...row,
  ...(priority !== null && { priority }),
  labels: JSON.parse(labels) as string[],
});

export class SubjectStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  list(): Subject[] {
    return (this.#database.prepare('SELECT * FROM subjects ORDER BY id').all() as unknown as SubjectRow[]).map(
      subjectFrom,
    );
  }

  find(id: string): Subject | undefined {
    const row = this.#database.prepare('SELECT * FROM subjects WHERE id = ?').get(id) as SubjectRow | undefined;
    return row && subjectFrom(row);
  }

  /** Throws `notFound`. */
  get(id: string): Subject {
    const subject = this.find(id);
    if (!subject) throw new AosError('notFound', `there is no subject "${id}"; "aosctl subjects" lists all`);
    return subject;
  }

  put({ id, type, title, fleet, priority, reported }: Subject): void {
    this.#database
      .prepare(
        `INSERT INTO subjects (id, type, title, fleet, priority, reported) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET title = excluded.title, priority = excluded.priority, reported = excluded.reported`,
      )
      .run(id, type, title, fleet, priority, reported ? 1 : 0);
  }

  delete(id: string): void {
    this.#database.prepare('DELETE FROM subjects WHERE id = ?').run(id);
  }

  units(id: string): string[] {
    const rows = this.#database
      .prepare('SELECT systemId FROM subjectUnits WHERE subjectId = ? ORDER BY systemId')
      .all(id) as unknown as { systemId: string }[];
    return rows.map(({ systemId }) => systemId);
  }

  ofUnit(systemId: string): Subject[] {
    const rows = this.#database
      .prepare(
        `SELECT subjects.* FROM subjects JOIN subjectUnits ON subjectUnits.subjectId = subjects.id
         WHERE systemId = ? ORDER BY id`,
      )
      .all(systemId) as unknown as SubjectRow[];
    return rows.map(subjectFrom);
  }

  /** Assigns a subject; a user leaves the unit where it was. Answers the units that it has left. */
  assign({ id, type }: Subject, systemId: string): string[] {
    return transaction(
      this.#database,
      () => {
        const left = type === 'user' ? this.units(id).filter((unit) => unit !== systemId) : [];
        for (const unit of left) this.#remove(id, unit);
        this.#database
          .prepare('INSERT OR IGNORE INTO subjectUnits (subjectId, systemId) VALUES (?, ?)')
          .run(id, systemId);
        return left;
      },
      'cloud.subject-unit',
    );
  }

  /** False when it was not assigned. */
  withdraw(id: string, systemId: string): boolean {
    return this.#remove(id, systemId);
  }

  subscriptions(id: string): Subscription[] {
    const rows = this.#database
      .prepare(
        `SELECT itemId, version, numInstances, priority, labels FROM subscriptions WHERE subjectId = ? ORDER BY itemId`,
      )
      .all(id) as unknown as SubscriptionRow[];
    return rows.map(subscriptionFrom);
  }

  /** All units of the subject take the version of the subscription, whatever a campaign has brought to them before. */
  subscribe(id: string, { itemId, version, numInstances, priority, labels }: Subscription): void {
    transaction(
      this.#database,
      () => {
        this.#database
          .prepare(
            `INSERT OR REPLACE INTO subscriptions (subjectId, itemId, version, numInstances, priority, labels)
             VALUES (?, ?, ?, ?, ?, ?)`,
          )
          .run(id, itemId, version, numInstances, priority ?? null, JSON.stringify(labels));
        this.#database
          .prepare(
            `DELETE FROM releases WHERE itemId = ? AND systemId IN
               (SELECT systemId FROM subjectUnits WHERE subjectId = ?)`,
          )
          .run(itemId, id);
      },
      'cloud.subscription',
    );
  }

  /** False when there was none. */
  unsubscribe(id: string, itemId: string): boolean {
    const { changes } = this.#database
      .prepare('DELETE FROM subscriptions WHERE subjectId = ? AND itemId = ?')
      .run(id, itemId);
    return changes > 0;
  }

  /** Subjects that have subscribed to this version. */
  subscribersOf(itemId: string, version: string): string[] {
    const rows = this.#database
      .prepare('SELECT subjectId FROM subscriptions WHERE itemId = ? AND version = ? ORDER BY subjectId')
      .all(itemId, version) as unknown as { subjectId: string }[];
    return rows.map(({ subjectId }) => subjectId);
  }

  #remove(id: string, systemId: string): boolean {
    const { changes } = this.#database
      .prepare('DELETE FROM subjectUnits WHERE subjectId = ? AND systemId = ?')
      .run(id, systemId);
    return changes > 0;
  }
}
