/** Selections of units for staged roll-outs and for verification (spec/product.md 1). */
import type { DatabaseSync } from 'node:sqlite';
import { AosError } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';

export interface UnitSet {
  readonly name: string;
  /** '' for one of the OEM over all fleets. */
  readonly fleet: string;
  /** Its members take versions that nobody has verified yet. */
  readonly verification: boolean;
  readonly units: readonly string[];
}

type Row = { readonly name: string; readonly fleet: string; readonly verification: number };

export class UnitSetStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  list(): UnitSet[] {
    const rows = this.#database.prepare('SELECT * FROM unitSets ORDER BY name').all() as unknown as Row[];
    return rows.map((row) => this.#fromRow(row));
  }

  find(name: string): UnitSet | undefined {
    const row = this.#database.prepare('SELECT * FROM unitSets WHERE name = ?').get(name) as Row | undefined;
    return row && this.#fromRow(row);
  }

  /** Throws `notFound`. */
  get(name: string): UnitSet {
    const set = this.find(name);
    if (!set) throw new AosError('notFound', `there is no unit set "${name}"; "aosctl unit-sets" lists all`);
    return set;
  }

  /** Makes the set exactly this. */
  put({ name, fleet, verification, units }: UnitSet): void {
    transaction(
      this.#database,
      () => {
        this.#database
          .prepare(
            `INSERT INTO unitSets (name, fleet, verification) VALUES (?, ?, ?)
             ON CONFLICT (name) DO UPDATE SET fleet = excluded.fleet, verification = excluded.verification`,
          )
          .run(name, fleet, verification ? 1 : 0);
        this.#database.prepare('DELETE FROM unitSetMembers WHERE name = ?').run(name);
        const insert = this.#database.prepare('INSERT INTO unitSetMembers (name, systemId) VALUES (?, ?)');
        for (const systemId of new Set(units)) insert.run(name, systemId);
      },
      'cloud.unit-set',
    );
  }

  delete(name: string): void {
    this.#database.prepare('DELETE FROM unitSets WHERE name = ?').run(name);
  }

  /** Names of the sets of a unit. */
  ofUnit(systemId: string): { readonly name: string; readonly verification: boolean }[] {
    const rows = this.#database
      .prepare('SELECT unitSets.* FROM unitSets JOIN unitSetMembers USING (name) WHERE systemId = ? ORDER BY name')
      .all(systemId) as unknown as Row[];
    return rows.map(({ name, verification }) => ({ name, verification: verification === 1 }));
  }

  #fromRow({ name, fleet, verification }: Row): UnitSet {
    const members = this.#database
      .prepare('SELECT systemId FROM unitSetMembers WHERE name = ? ORDER BY systemId')
      .all(name) as unknown as { systemId: string }[];
    return { name, fleet, verification: verification === 1, units: members.map(({ systemId }) => systemId) };
  }
}
