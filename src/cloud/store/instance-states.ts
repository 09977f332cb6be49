/** States of instances that units have handed over (spec/cloud-protocol.md 8.11 to 8.14). */
import { createHash } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';

export interface InstanceName {
  readonly itemId: string;
  readonly subjectId: string;
  readonly instance: number;
}

export interface InstanceStateRow extends InstanceName {
  readonly checksum: string;
  readonly state: string;
  readonly receivedAt: string;
}

/** SHA3-224 over the text, hex (spec/cloud-protocol.md 9.4). */
export function stateChecksum(state: string): string {
  return createHash('sha3-224').update(state).digest('hex');
}

export class InstanceStateStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  list(systemId: string): InstanceStateRow[] {
    return this.#database
      .prepare(
        `SELECT itemId, subjectId, instance, checksum, state, receivedAt FROM instanceStates
         WHERE systemId = ? ORDER BY itemId, subjectId, instance`,
      )
      .all(systemId) as unknown as InstanceStateRow[];
  }

  /** The accepted state; empty when there never was one. */
  get(systemId: string, { itemId, subjectId, instance }: InstanceName): string {
    const row = this.#database
      .prepare('SELECT state FROM instanceStates WHERE systemId = ? AND itemId = ? AND subjectId = ? AND instance = ?')
      .get(systemId, itemId, subjectId, instance) as { state: string } | undefined;
    return row?.state ?? '';
  }

  put(systemId: string, { itemId, subjectId, instance }: InstanceName, state: string, now: Date): void {
    this.#database
      .prepare(
        `INSERT OR REPLACE INTO instanceStates (systemId, itemId, subjectId, instance, checksum, state, receivedAt)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(systemId, itemId, subjectId, instance, stateChecksum(state), state, now.toISOString());
  }
}
