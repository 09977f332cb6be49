/** Selections of units for staged roll-outs and for verification (spec/product.md 1). */
import { AosError } from '../../core/index.ts';
import type { Sql } from './sql.ts';

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
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  async list(): Promise<UnitSet[]> {
    const rows = await this.#sql.all<Row>('SELECT * FROM unitSets ORDER BY name');
    const sets: UnitSet[] = [];
    for (const row of rows) sets.push(await this.#fromRow(row));
    return sets;
  }

  async find(name: string): Promise<UnitSet | undefined> {
    const row = await this.#sql.get<Row>('SELECT * FROM unitSets WHERE name = ?', name);
    return row && this.#fromRow(row);
  }

  /** Throws `notFound`. */
  async get(name: string): Promise<UnitSet> {
    const set = await this.find(name);
    if (!set) throw new AosError('notFound', `there is no unit set "${name}"; "aosctl unit-sets" lists all`);
    return set;
  }

  /** Makes the set exactly this. */
  async put({ name, fleet, verification, units }: UnitSet): Promise<void> {
    await this.#sql.run(
      `INSERT INTO unitSets (name, fleet, verification) VALUES (?, ?, ?)
         ON CONFLICT (name) DO UPDATE SET fleet = excluded.fleet, verification = excluded.verification`,
      ...[name, fleet, verification ? 1 : 0],
    );
    await this.#sql.run('DELETE FROM unitSetMembers WHERE name = ?', name);
    for (const systemId of new Set(units)) {
      await this.#sql.run('INSERT INTO unitSetMembers (name, systemId) VALUES (?, ?)', name, systemId);
    }
  }

  async delete(name: string): Promise<void> {
    await this.#sql.run('DELETE FROM unitSets WHERE name = ?', name);
  }

  /** The sets of a unit, without their members. */
  async ofUnit(systemId: string): Promise<Omit<UnitSet, 'units'>[]> {
    const rows = await this.#sql.all<Row>(
      'SELECT unitSets.* FROM unitSets JOIN unitSetMembers USING (name) WHERE systemId = ? ORDER BY name',
      systemId,
    );
    return rows.map(({ name, fleet, verification }) => ({ name, fleet, verification: verification === 1 }));
  }

  async #fromRow({ name, fleet, verification }: Row): Promise<UnitSet> {
    const members = await this.#sql.all<{ systemId: string }>(
      'SELECT systemId FROM unitSetMembers WHERE name = ? ORDER BY systemId',
      name,
    );
    return { name, fleet, verification: verification === 1, units: members.map(({ systemId }) => systemId) };
  }
}
