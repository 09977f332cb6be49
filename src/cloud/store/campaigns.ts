/** Campaigns: one version of an item for unit sets, one after the other (spec/product.md 1, W6, W8). */
import { AosError } from '../../core/index.ts';
import type { Sql } from './sql.ts';

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

const COLUMNS = 'id, itemId, version, stages, automatic, fleet, state, stage, reason, createdBy, createdAt, changedAt';

const fromRow = ({ stages, automatic, ...row }: Row): Campaign => ({
  ...row,
  stages: JSON.parse(stages) as string[],
  automatic: automatic === 1,
});

export class CampaignStore {
  readonly #sql: Sql;

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** The newest first. */
  async list(): Promise<Campaign[]> {
    const rows = await this.#sql.all<Row>(`SELECT ${COLUMNS} FROM campaigns ORDER BY createdAt DESC, rowid DESC`);
    return rows.map(fromRow);
  }

  async running(): Promise<Campaign[]> {
    const rows = await this.#sql.all<Row>(
      `SELECT ${COLUMNS} FROM campaigns WHERE state = 'running' ORDER BY createdAt`,
    );
    return rows.map(fromRow);
  }

  /** Throws `notFound`. */
  async get(id: string): Promise<Campaign> {
    const row = await this.#sql.get<Row>(`SELECT ${COLUMNS} FROM campaigns WHERE id = ?`, id);
    if (!row) throw new AosError('notFound', `there is no campaign "${id}"; "aosctl campaigns" lists all`);
    return fromRow(row);
  }

  async add(campaign: Campaign): Promise<void> {
    const { id, itemId, version, stages, automatic, fleet, state, stage, reason, createdBy } = campaign;
    await this.#sql.run(
      `INSERT INTO campaigns (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[id, itemId, version, JSON.stringify(stages), automatic ? 1 : 0, fleet, state, stage, reason, createdBy],
      ...[campaign.createdAt, campaign.changedAt],
    );
  }

  async set(id: string, change: Pick<Campaign, 'state' | 'stage' | 'reason'>, now: Date): Promise<void> {
    const { state, stage, reason } = change;
    await this.#sql.run(
      'UPDATE campaigns SET state = ?, stage = ?, reason = ?, changedAt = ? WHERE id = ?',
      ...[state, stage, reason, now.toISOString(), id],
    );
  }

  units(id: string): Promise<CampaignUnit[]> {
    return this.#sql.all<CampaignUnit>(
      `SELECT systemId, stage, formerVersion, givenAt FROM campaignUnits
         WHERE campaignId = ? ORDER BY stage, systemId`,
      id,
    );
  }

  async addUnit(id: string, { systemId, stage, formerVersion, givenAt }: CampaignUnit): Promise<void> {
    await this.#sql.run(
      `INSERT INTO campaignUnits (campaignId, systemId, stage, formerVersion, givenAt) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO NOTHING`,
      ...[id, systemId, stage, formerVersion, givenAt],
    );
  }

  /** Versions that campaigns have brought to a unit, by item. */
  async releases(systemId: string): Promise<ReadonlyMap<string, string>> {
    const rows = await this.#sql.all<{ itemId: string; version: string }>(
      'SELECT itemId, version FROM releases WHERE systemId = ?',
      systemId,
    );
    return new Map(rows.map(({ itemId, version }) => [itemId, version]));
  }

  async release(systemId: string, itemId: string, version: string): Promise<void> {
    await this.#sql.run(
      `INSERT INTO releases (systemId, itemId, version) VALUES (?, ?, ?)
         ON CONFLICT (systemId, itemId) DO UPDATE SET version = excluded.version`,
      systemId,
      itemId,
      version,
    );
  }

  /** Units that a campaign has given this version, and running campaigns for it. */
  async usersOf(itemId: string, version: string): Promise<string[]> {
    const units = await this.#sql.all<{ systemId: string }>(
      'SELECT systemId FROM releases WHERE itemId = ? AND version = ? ORDER BY systemId',
      itemId,
      version,
    );
    const campaigns = (await this.running()).filter(
      (campaign) => campaign.itemId === itemId && campaign.version === version,
    );
    return [...units.map(({ systemId }) => systemId), ...campaigns.map(({ id }) => `campaign ${id}`)];
  }
}
