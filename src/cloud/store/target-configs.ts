/** Unit configurations for many units: of one model, or of one unit set. */

import type { Sql } from './sql.ts';
import type { UnitWishes } from './units.ts';

export type WantedConfig = NonNullable<UnitWishes['unitConfig']>;

export interface TargetConfig {
  /** `model:<name>` or `set:<unit set>`. */
  readonly target: string;
  readonly config: WantedConfig;
}

export class TargetConfigStore {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  async list(): Promise<TargetConfig[]> {
    const rows = await this.#sql.all<{
      target: string;
      config: string;
    }>('SELECT * FROM targetConfigs ORDER BY target');
    return rows.map(({ target, config }) => ({ target, config: JSON.parse(config) as WantedConfig }));
  }

  async find(target: string): Promise<WantedConfig | undefined> {
    return (await this.list()).find((entry) => entry.target === target)?.config;
  }

  async put(target: string, config: WantedConfig): Promise<void> {
    await this.#sql.run(
      'INSERT INTO targetConfigs (target, config) VALUES (?, ?) ON CONFLICT (target) DO UPDATE SET config = excluded.config',
      target,
      JSON.stringify(config),
    );
  }

  /** False when there was none. */
  async delete(target: string): Promise<boolean> {
    return (await this.#sql.run('DELETE FROM targetConfigs WHERE target = ?', target)) > 0;
  }
}
