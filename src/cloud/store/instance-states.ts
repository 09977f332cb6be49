/** States of instances that units have handed over (spec/cloud-protocol.md 8.11 to 8.14). */
import { createHash } from 'node:crypto';
import type { Sql } from './sql.ts';

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
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  list(systemId: string): Promise<InstanceStateRow[]> {
    return this.#sql.all<InstanceStateRow>(
      `SELECT itemId, subjectId, instance, checksum, state, receivedAt FROM instanceStates
         WHERE systemId = ? ORDER BY itemId, subjectId, instance`,
      systemId,
    );
  }

  /** The accepted state; empty when there never was one. */
  async get(systemId: string, { itemId, subjectId, instance }: InstanceName): Promise<string> {
    const row = await this.#sql.get<{ state: string }>(
      'SELECT state FROM instanceStates WHERE systemId = ? AND itemId = ? AND subjectId = ? AND instance = ?',
      systemId,
      itemId,
      subjectId,
      instance,
    );
    return row?.state ?? '';
  }

  async put(systemId: string, { itemId, subjectId, instance }: InstanceName, state: string, now: Date): Promise<void> {
    await this.#sql.run(
      `INSERT INTO instanceStates (systemId, itemId, subjectId, instance, checksum, state, receivedAt)
         VALUES (?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (systemId, itemId, subjectId, instance) DO UPDATE SET
           checksum = excluded.checksum, state = excluded.state, receivedAt = excluded.receivedAt`,
      systemId,
      itemId,
      subjectId,
      instance,
      stateChecksum(state),
      state,
      now.toISOString(),
    );
  }

  /** A user has gone from one unit to another: the states go along (spec/product.md W14). */
  async takeAlong(subjectId: string, from: string, to: string): Promise<void> {
    await this.#sql.run(
      `INSERT INTO instanceStates (systemId, itemId, subjectId, instance, checksum, state, receivedAt)
         SELECT CAST(? AS TEXT), itemId, subjectId, instance, checksum, state, receivedAt FROM instanceStates
         WHERE systemId = ? AND subjectId = ?
         ON CONFLICT (systemId, itemId, subjectId, instance) DO UPDATE SET
           checksum = excluded.checksum, state = excluded.state, receivedAt = excluded.receivedAt`,
      to,
      from,
      subjectId,
    );
  }
}
