/** Runs campaigns: gives a version to one unit set after the other, and stops when a unit fails. */
import { randomUUID } from 'node:crypto';
import { AosError, asAosError, type Logger } from '../../core/index.ts';
import type { Campaign } from '../store/campaigns.ts';
import type { Stores } from '../store/open-stores.ts';
import type { UnitEvents } from '../units/events.ts';
import { judgeCampaign, progressOf, takesPart, type UnitProgress } from './campaign-progress.ts';
import { wantedOn } from './facts.ts';

export interface CampaignParts {
  readonly stores: Stores;
  readonly events: UnitEvents;
  readonly isOnline: (systemId: string) => boolean;
  /** Tells a unit that what is wanted of it has changed. */
  readonly desiredChanged: (systemId: string) => void;
  readonly now: () => Date;
  readonly logger: Logger;
}

export type NewCampaign = Pick<Campaign, 'itemId' | 'version' | 'stages' | 'automatic' | 'fleet' | 'createdBy'>;

export class Campaigns {
  readonly #parts: CampaignParts;
  #unsubscribe: (() => void) | undefined;

  constructor(parts: CampaignParts) {
    this.#parts = parts;
  }

  /** Goes on with what was running, and looks at each status of a unit from now on. */
  start(): void {
    const { events, logger } = this.#parts;
    this.#unsubscribe = events.subscribe(({ event, systemId }) => {
      if (event !== 'status') return;
      try {
        for (const campaign of this.#parts.stores.campaigns.running()) {
          if (this.#stageUnits(campaign).includes(systemId)) this.#judge(campaign.id);
        }
      } catch (error) {
        logger.error({ error: asAosError(error).message }, 'campaigns could not be looked at');
      }
    });
    for (const { id } of this.#parts.stores.campaigns.running()) this.#judge(id);
  }

  stop(): void {
    this.#unsubscribe?.();
  }

  /** Begins with the first stage. Throws `wrongState` when another campaign with the item is running. */
  create(campaign: NewCampaign): Campaign {
    const { stores, now, logger } = this.#parts;
    const other = stores.campaigns.running().find(({ itemId }) => itemId === campaign.itemId);
    if (other) {
      throw new AosError(
        'wrongState',
        `campaign ${other.id} brings ${other.itemId} ${other.version} already; stop it first`,
      );
    }
    const at = now().toISOString();
    const id = randomUUID().slice(0, 8);
    const touched = stores.campaigns.together(() => {
      stores.campaigns.add({
        ...{ ...campaign, id, state: 'running', stage: 0, reason: 'it begins', createdAt: at, changedAt: at },
      });
      return this.#give(stores.campaigns.get(id), 0);
    });
    logger.info({ campaign: id, itemId: campaign.itemId, version: campaign.version }, 'a campaign begins');
    this.#tell(id, touched);
    this.#judge(id);
    return stores.campaigns.get(id);
  }

  /** Begins the next stage, whatever has become of the current one. Throws `wrongState` when there is none. */
  advance(id: string): Campaign {
    const campaign = this.#running(id);
    if (campaign.stage + 1 >= campaign.stages.length) {
      throw new AosError('wrongState', `campaign ${id} is in its last stage`);
    }
    this.#next(campaign, 'a person began this stage');
    this.#judge(id);
    return this.#parts.stores.campaigns.get(id);
  }

  /** Units that have the version keep it (spec/product.md W8). */
  halt(id: string, reason: string): Campaign {
    const { stores } = this.#parts;
    this.#set(this.#running(id), 'stopped', reason);
    return stores.campaigns.get(id);
  }

  /** Progress of all units that the campaign has reached. */
  progress(id: string): (UnitProgress & { readonly stage: number })[] {
    const { itemId, version } = this.#parts.stores.campaigns.get(id);
    return this.#parts.stores.campaigns
      .units(id)
      .map(({ systemId, stage }) => ({ stage, ...progressOf(this.#facts(systemId), itemId, version) }));
  }

  #judge(id: string): void {
    const { stores } = this.#parts;
    // Each round ends, stops or begins one of finitely many stages.
    for (let campaign = stores.campaigns.get(id); campaign.state === 'running'; campaign = stores.campaigns.get(id)) {
      const { itemId, version, stage } = campaign;
      const units = this.#stageUnits(campaign).map((unit) => progressOf(this.#facts(unit), itemId, version));
      const verdict = judgeCampaign(campaign, units);
      if (verdict.do === 'wait') {
        if (verdict.because !== campaign.reason) {
          stores.campaigns.set(id, { state: 'running', stage, reason: verdict.because }, this.#parts.now());
        }
        return;
      }
      if (verdict.do === 'advance') this.#next(campaign, verdict.because);
      else this.#set(campaign, verdict.do === 'stop' ? 'stopped' : 'completed', verdict.because);
    }
  }

  #next(campaign: Campaign, reason: string): void {
    const { stores, now } = this.#parts;
    const stage = campaign.stage + 1;
    const touched = stores.campaigns.together(() => {
      stores.campaigns.set(campaign.id, { state: 'running', stage, reason }, now());
      return this.#give(campaign, stage);
    });
    this.#tell(campaign.id, touched);
  }

  /** Gives the version to the units of a stage that are to have the item in an older one; answers them. */
  #give({ id, itemId, version, stages }: Campaign, stage: number): string[] {
    const { stores, now } = this.#parts;
    const touched: string[] = [];
    for (const systemId of stores.unitSets.find(stages[stage]!)?.units ?? []) {
      const current = wantedOn(stores, systemId).find((wanted) => wanted.itemId === itemId)?.version;
      if (!takesPart(current, version)) continue;
      const deployment = stores.deployments.find(systemId, itemId);
      if (deployment) stores.deployments.put(systemId, { ...deployment, version, formerVersion: deployment.version });
      else stores.campaigns.release(systemId, itemId, version);
      stores.campaigns.addUnit(id, {
        ...{ systemId, stage, formerVersion: current ?? null, givenAt: now().toISOString() },
      });
      touched.push(systemId);
    }
    return touched;
  }

  #tell(id: string, units: readonly string[]): void {
    const { events, desiredChanged, stores } = this.#parts;
    const { itemId, version } = stores.campaigns.get(id);
    for (const systemId of units) {
      events.publish(systemId, 'deployment', { itemId, version, campaign: id });
      desiredChanged(systemId);
    }
  }

  #set(campaign: Campaign, state: 'stopped' | 'completed', reason: string): void {
    const { stores, now, logger } = this.#parts;
    stores.campaigns.set(campaign.id, { state, stage: campaign.stage, reason }, now());
    logger.info({ campaign: campaign.id, state, reason }, 'a campaign ends');
  }

  #running(id: string): Campaign {
    const campaign = this.#parts.stores.campaigns.get(id);
    if (campaign.state === 'running') return campaign;
    throw new AosError('wrongState', `campaign ${id} is ${campaign.state}: ${campaign.reason}`);
  }

  #stageUnits({ id, stage }: Campaign): string[] {
    return this.#parts.stores.campaigns
      .units(id)
      .filter((unit) => unit.stage === stage)
      .map(({ systemId }) => systemId);
  }

  #facts(systemId: string) {
    const { stores, isOnline } = this.#parts;
    return { systemId, online: isOnline(systemId), picture: stores.units.picture(systemId) };
  }
}
