/** What is wanted on units. */
import type { DatabaseSync } from 'node:sqlite';

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
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  list(systemId: string): Deployment[] {
    const rows = this.#database
      .prepare(`SELECT ${COLUMNS} FROM deployments WHERE systemId = ? ORDER BY itemId`)
      .all(systemId);
    return (rows as unknown as Row[]).map(fromRow);
  }

  find(systemId: string, itemId: string): Deployment | undefined {
    const row = this.#database
      .prepare(`SELECT ${COLUMNS} FROM deployments WHERE systemId = ? AND itemId = ?`)
      .get(systemId, itemId) as Row | undefined;
    return row && fromRow(row);
  }

  put(systemId: string, deployment: Deployment): void {
    const { itemId, version, subject, numInstances, priority, labels, formerVersion = null } = deployment;
    this.#database
      .prepare(
        `INSERT OR REPLACE INTO deployments (systemId, ${COLUMNS})
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(systemId, itemId, version, subject, numInstances, priority, JSON.stringify(labels), formerVersion);
  }

  /** Units that an item is deployed on, in one version or in any. */
  unitsOf(itemId: string, version?: string): string[] {
    const rows = this.#database
      .prepare('SELECT systemId FROM deployments WHERE itemId = ? AND (version = ? OR ? IS NULL) ORDER BY systemId')
      .all(itemId, version ?? null, version ?? null);
    return (rows as unknown as { systemId: string }[]).map((row) => row.systemId);
  }

  /** False when there was none. */
  remove(systemId: string, itemId: string): boolean {
    const { changes } = this.#database
      .prepare('DELETE FROM deployments WHERE systemId = ? AND itemId = ?')
      .run(systemId, itemId);
    return changes > 0;
  }
}
