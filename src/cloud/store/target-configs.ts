/** Unit configurations for many units: of one model, or of one unit set. */
import type { DatabaseSync } from 'node:sqlite';
import type { UnitWishes } from './units.ts';

export type WantedConfig = NonNullable<UnitWishes['unitConfig']>;

export interface TargetConfig {
  /** `model:<name>` or `set:<unit set>`. */
  readonly target: string;
  readonly config: WantedConfig;
}

export class TargetConfigStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  list(): TargetConfig[] {
    const rows = this.#database.prepare('SELECT * FROM targetConfigs ORDER BY target').all() as unknown as {
      target: string;
      config: string;
    }[];
    return rows.map(({ target, config }) => ({ target, config: JSON.parse(config) as WantedConfig }));
  }

  find(target: string): WantedConfig | undefined {
    return this.list().find((entry) => entry.target === target)?.config;
  }

  put(target: string, config: WantedConfig): void {
    this.#database
      .prepare('INSERT OR REPLACE INTO targetConfigs (target, config) VALUES (?, ?)')
      .run(target, JSON.stringify(config));
  }

  /** False when there was none. */
  delete(target: string): boolean {
    return this.#database.prepare('DELETE FROM targetConfigs WHERE target = ?').run(target).changes > 0;
  }
}
