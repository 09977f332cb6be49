/** What is wanted on units. */
import type { Sql } from './sql.ts';

export interface Deployment {
  readonly itemId: string;
  readonly version: string;
  readonly subject: string;
  /** 0 for a component: one on each runtime that fits. */
  readonly numInstances: number;
  /** Higher is placed first. */
  readonly priority: number;
  readonly labels: readonly string[];
  /** The version before the last change; absent when there was none. */
  readonly formerVersion?: string;
}

type Row = Omit<Deployment, 'labels' | 'formerVersion'> & {
  readonly labels: string;
  readonly formerVersion: string | null;
};

const fromRow = ({ labels, formerVersion, ...row }: Row): Deployment => ({
  ...row,
  labels: JSON.parse(labels) as string[],
  ...(formerVersion !== null && { formerVersion }),
});
const COLUMNS = 'itemId, version, subject, numInstances, priority, labels, formerVersion';

export class DeploymentStore {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  async list(systemId: string): Promise<Deployment[]> {
    const rows = await this.#sql.all<Row>(
      `SELECT ${COLUMNS} FROM deployments WHERE systemId = ? ORDER BY itemId`,
      systemId,
    );
    return rows.map(fromRow);
  }

  async find(systemId: string, itemId: string): Promise<Deployment | undefined> {
    const row = await this.#sql.get<Row>(
      `SELECT ${COLUMNS} FROM deployments WHERE systemId = ? AND itemId = ?`,
      systemId,
      itemId,
    );
    return row && fromRow(row);
  }

  async put(systemId: string, deployment: Deployment): Promise<void> {
    const { itemId, version, subject, numInstances, priority, labels, formerVersion = null } = deployment;
    await this.#sql.run(
      `INSERT INTO deployments (systemId, ${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (systemId, itemId) DO UPDATE SET
           version = excluded.version, subject = excluded.subject, numInstances = excluded.numInstances,
           priority = excluded.priority, labels = excluded.labels, formerVersion = excluded.formerVersion`,
      systemId,
      itemId,
      version,
      subject,
      numInstances,
      priority,
      JSON.stringify(labels),
      formerVersion,
    );
  }

  /** Units that an item is deployed on, in one version or in any. */
  async unitsOf(itemId: string, version?: string): Promise<string[]> {
    const rows = await this.#sql.all<{ systemId: string }>(
      'SELECT systemId FROM deployments WHERE itemId = ? AND (version = ? OR CAST(? AS TEXT) IS NULL) ORDER BY systemId',
      itemId,
      version ?? null,
      version ?? null,
    );
    return rows.map((row) => row.systemId);
  }

  /** False when there was none. */
  async remove(systemId: string, itemId: string): Promise<boolean> {
    const changes = await this.#sql.run('DELETE FROM deployments WHERE systemId = ? AND itemId = ?', systemId, itemId);
    return changes > 0;
  }
}
