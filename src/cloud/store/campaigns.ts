/** Campaigns: one version of an item for unit sets, one after the other (spec/product.md 1, W6, W8). */
import type { DatabaseSync } from 'node:sqlite';
import { AosError } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';

export type CampaignState = 'running' | 'stopped' | 'completed';

export interface Campaign {
  readonly id: string;
  readonly itemId: string;
  readonly version: string;
  /** Names of unit sets. */
  readonly stages: readonly string[];
  /** Whether the next stage begins by itself when all units of the former run the version. */
  readonly automatic: boolean;
  readonly fleet: string;
  readonly state: CampaignState;
  /** Index of the stage that is under way; it and those before have been given out. */
  readonly stage: number;
  /** Why it is in its state, for a person. */
  readonly reason: string;
  readonly createdBy: string;
  readonly createdAt: string;
  readonly changedAt: string;
}

export interface CampaignUnit {
  readonly systemId: string;
  readonly stage: number;
  /** The version that the unit was to have before. */
  readonly formerVersion: string | null;
  readonly givenAt: string;
}

type Row = Omit<Campaign, 'stages' | 'automatic'> & { readonly stages: string; readonly automatic: number };

const fromRow = ({ stages, automatic, ...row }: Row): Campaign => ({
  ...row,
  stages: JSON.parse(stages) as string[],
  automatic: automatic === 1,
});

export class CampaignStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** The newest first. */
  list(): Campaign[] {
    const rows = this.#database.prepare('SELECT * FROM campaigns ORDER BY createdAt DESC, rowid DESC').all();
    return (rows as unknown as Row[]).map(fromRow);
  }

  running(): Campaign[] {
    const rows = this.#database.prepare(`SELECT * FROM campaigns WHERE state = 'running' ORDER BY createdAt`).all();
    return (rows as unknown as Row[]).map(fromRow);
  }

  /** Throws `notFound`. */
  get(id: string): Campaign {
    const row = this.#database.prepare('SELECT * FROM campaigns WHERE id = ?').get(id) as Row | undefined;
    if (!row) throw new AosError('notFound', `there is no campaign "${id}"; "aosctl campaigns" lists all`);
    return fromRow(row);
  }

  add(campaign: Campaign): void {
    const { id, itemId, version, stages, automatic, fleet, state, stage, reason, createdBy } = campaign;
    this.#database
      .prepare(
        `INSERT INTO campaigns
           (id, itemId, version, stages, automatic, fleet, state, stage, reason, createdBy, createdAt, changedAt)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        ...[id, itemId, version, JSON.stringify(stages), automatic ? 1 : 0, fleet, state, stage, reason, createdBy],
        ...[campaign.createdAt, campaign.changedAt],
      );
  }

  set(id: string, change: Pick<Campaign, 'state' | 'stage' | 'reason'>, now: Date): void {
    const { state, stage, reason } = change;
    this.#database
      .prepare('UPDATE campaigns SET state = ?, stage = ?, reason = ?, changedAt = ? WHERE id = ?')
      .run(state, stage, reason, now.toISOString(), id);
  }

  units(id: string): CampaignUnit[] {
    return this.#database
      .prepare(
        `SELECT systemId, stage, formerVersion, givenAt FROM campaignUnits
         WHERE campaignId = ? ORDER BY stage, systemId`,
      )
      .all(id) as unknown as CampaignUnit[];
  }

  addUnit(id: string, { systemId, stage, formerVersion, givenAt }: CampaignUnit): void {
    this.#database
      .prepare(
        `INSERT OR IGNORE INTO campaignUnits (campaignId, systemId, stage, formerVersion, givenAt)
         VALUES (?, ?, ?, ?, ?)`,
      )
      .run(id, systemId, stage, formerVersion, givenAt);
  }

  /** Versions that campaigns have brought to a unit, by item. */
  releases(systemId: string): ReadonlyMap<string, string> {
    const rows = this.#database
      .prepare('SELECT itemId, version FROM releases WHERE systemId = ?')
      .all(systemId) as unknown as { itemId: string; version: string }[];
    return new Map(rows.map(({ itemId, version }) => [itemId, version]));
  }

  release(systemId: string, itemId: string, version: string): void {
    this.#database
      .prepare('INSERT OR REPLACE INTO releases (systemId, itemId, version) VALUES (?, ?, ?)')
      .run(systemId, itemId, version);
  }

  /** Units that a campaign has given this version, and running campaigns for it. */
  usersOf(itemId: string, version: string): string[] {
    const units = this.#database
      .prepare('SELECT systemId FROM releases WHERE itemId = ? AND version = ? ORDER BY systemId')
      .all(itemId, version) as unknown as { systemId: string }[];
    const campaigns = this.running().filter((campaign) => campaign.itemId === itemId && campaign.version === version);
    return [...units.map(({ systemId }) => systemId), ...campaigns.map(({ id }) => `campaign ${id}`)];
  }

  /** Runs `work` as one step that is there as a whole or not at all. */
  together<T>(work: () => T): T {
    return transaction(this.#database, work, 'cloud.campaign');
  }
}
