/** Runs campaigns: gives a version to one unit set after the other, and stops when a unit fails. */
import { randomUUID } from 'node:crypto';
import { AosError, asAosError, type Logger } from '../../core/index.ts';
import type { UnitEvents } from '../model/unit-events.ts';
import type { Campaign } from '../store/campaigns.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import type { Stores } from '../store/stores.ts';
import { judgeCampaign, progressOf, takesPart, type UnitProgress, type Verdict } from './campaign-progress.ts';
import { deployableItem, refusalOf } from './deployable-item.ts';
import { wantedOn } from './facts.ts';

/** Before campaigns are looked at again that could not be: what units have said is not said again. */
const LOOK_AGAIN_MS = 5000;

export interface CampaignParts {
  readonly database: CloudDatabase;
  readonly events: UnitEvents;
  readonly isOnline: (systemId: string) => boolean;
  /** Tells a unit that what is wanted of it has changed. */
  readonly desiredChanged: (systemId: string) => void;
  readonly now: () => Date;
  readonly logger: Logger;
  readonly lookAgainMs?: number;
}

export type NewCampaign = Pick<Campaign, 'itemId' | 'version' | 'stages' | 'automatic' | 'fleet' | 'createdBy'>;

/** What has become of a campaign in a transaction; told of when that is durable. */
interface Moves {
  /** Units that were given the version. */
  readonly touched: string[];
  ended?: { readonly state: 'stopped' | 'completed'; readonly reason: string };
}

export class Campaigns {
  readonly #parts: CampaignParts;
  #unsubscribe: (() => void) | undefined;
  /** Units that have told of themselves since campaigns were looked at. */
  readonly #news = new Set<string>();
  /** One look after the other; what comes during one waits for the next, together. */
  #looking: Promise<void> | undefined;
  #again: NodeJS.Timeout | undefined;

  constructor(parts: CampaignParts) {
    this.#parts = parts;
  }

  /** Goes on with what was running, and looks at each status of a unit from now on. */
  async start(): Promise<void> {
    this.#unsubscribe = this.#parts.events.subscribe(({ event, systemId }) => {
      // One that was deleted may have been the last one that was waited for.
      if (event !== 'status' && event !== 'deleted') return;
      this.#news.add(systemId);
      this.#lookSoon();
    });
    const running = await this.#parts.database.read(({ campaigns }) => campaigns.running());
    for (const { id } of running) await this.#judge(id);
  }

  /** Waits for a look that is under way. */
  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#news.clear();
    await this.#looking;
    clearTimeout(this.#again);
  }

  #lookSoon(): void {
    clearTimeout(this.#again);
    this.#looking ??= this.#look();
  }

  /** Looks until there is no news; never rejects. */
  async #look(): Promise<void> {
    while (this.#news.size > 0) {
      const units = [...this.#news];
      this.#news.clear();
      try {
        for (const id of await this.#reached(units)) await this.#judge(id);
      } catch (error) {
        const { logger, lookAgainMs = LOOK_AGAIN_MS } = this.#parts;
        logger.error({ error: asAosError(error).message }, 'campaigns could not be looked at; they will be again');
        for (const systemId of units) this.#news.add(systemId);
        this.#again = setTimeout(() => this.#lookSoon(), lookAgainMs);
        break;
      }
    }
    this.#looking = undefined;
  }

  /** Running campaigns that have one of the units in their current stage, or may have had one that is gone. */
  #reached(units: readonly string[]): Promise<string[]> {
    return this.#parts.database.read(async ({ campaigns, units: known }) => {
      const reached: string[] = [];
      const running = await campaigns.running();
      if (running.length === 0) return reached;
      let isOneGone = false;
      for (const systemId of units) isOneGone ||= (await known.find(systemId)) === undefined;
      for (const campaign of running) {
        const stage = new Set(await stageUnits({ campaigns }, campaign));
        if (isOneGone || units.some((systemId) => stage.has(systemId))) reached.push(campaign.id);
      }
      return reached;
    });
  }

  /**
   * Begins with the first stage. `check` looks, in the same transaction, whether it may. Throws `wrongState` when
   * another campaign with the item is running that may reach the same units.
   */
  async create(campaign: NewCampaign, check: (stores: Stores) => Promise<void>): Promise<Campaign> {
    const { now, logger } = this.#parts;
    const at = now().toISOString();
    const id = randomUUID().slice(0, 8);
    const begun = await this.#change(id, async (stores, moves) => {
      await check(stores);
      const other = (await stores.campaigns.running()).find((running) => areInTheWay(running, campaign));
      if (other) {
        throw new AosError(
          'wrongState',
          `campaign ${other.id} brings ${other.itemId} ${other.version} already; stop it first`,
        );
      }
      await stores.campaigns.add({
        ...{ ...campaign, id, state: 'running', stage: 0, reason: 'it begins', createdAt: at, changedAt: at },
      });
      await this.#give(stores, await stores.campaigns.get(id), 0, moves);
      await this.#judgeIn(stores, id, moves);
    });
    logger.info({ campaign: id, itemId: campaign.itemId, version: campaign.version }, 'a campaign begins');
    return begun;
  }

  /** Begins the next stage, whatever has become of the current one. Throws `wrongState` when there is none. */
  advance(id: string): Promise<Campaign> {
    return this.#change(id, async (stores, moves) => {
      const campaign = await running(stores, id);
      if (campaign.stage + 1 >= campaign.stages.length) {
        throw new AosError('wrongState', `campaign ${id} is in its last stage`);
      }
      const { itemId, version, stages, stage } = campaign;
      await deployableItem(stores, itemId, version, await verifies(stores, stages[stage + 1]!));
      await this.#next(stores, campaign, 'a person began this stage', moves);
      await this.#judgeIn(stores, id, moves);
    });
  }

  /** Units that have the version keep it (spec/product.md W8). */
  halt(id: string, reason: string): Promise<Campaign> {
    return this.#change(id, async (stores, moves) =>
      this.#end(stores, await running(stores, id), 'stopped', reason, moves),
    );
  }

  /** Progress of all units that the campaign has reached. */
  async progress(stores: Stores, id: string): Promise<(UnitProgress & { readonly stage: number })[]> {
    const { itemId, version } = await stores.campaigns.get(id);
    const reached: (UnitProgress & { readonly stage: number })[] = [];
    for (const { systemId, stage } of await stores.campaigns.units(id)) {
      reached.push({ stage, ...progressOf(await this.#facts(stores, systemId), itemId, version) });
    }
    return reached;
  }

  /** Most statuses change nothing: then nothing is written, and no writer is in the way of another. */
  async #judge(id: string): Promise<void> {
    const isStill = await this.#parts.database.read(async (stores) => {
      const campaign = await stores.campaigns.get(id);
      return campaign.state !== 'running' || isAsBefore(campaign, await this.#verdict(stores, campaign));
    });
    if (!isStill) await this.#change(id, (stores, moves) => this.#judgeIn(stores, id, moves));
  }

  /** Changes a campaign in one transaction; then tells of what has become of it. */
  async #change(id: string, change: (stores: Stores, moves: Moves) => Promise<void>): Promise<Campaign> {
    const { database, events, desiredChanged, logger } = this.#parts;
    const { campaign, moves } = await database.write(async (stores) => {
      const fresh: Moves = { touched: [] };
      await change(stores, fresh);
      return { campaign: await stores.campaigns.get(id), moves: fresh };
    }, 'cloud.campaign');
    const { itemId, version } = campaign;
    for (const systemId of moves.touched) {
      events.publish(systemId, 'deployment', { itemId, version, campaign: id });
      desiredChanged(systemId);
    }
    if (moves.ended) logger.info({ campaign: id, ...moves.ended }, 'a campaign ends');
    return campaign;
  }

  async #judgeIn(stores: Stores, id: string, moves: Moves): Promise<void> {
    const { campaigns } = stores;
    // Each round ends, stops or begins one of finitely many stages.
    for (let campaign = await campaigns.get(id); campaign.state === 'running'; campaign = await campaigns.get(id)) {
      const verdict = await this.#verdict(stores, campaign);
      if (isAsBefore(campaign, verdict)) return;
      if (verdict.do === 'wait') {
        const { stage } = campaign;
        await campaigns.set(id, { state: 'running', stage, reason: verdict.because }, this.#parts.now());
        return;
      }
      if (verdict.do === 'advance') await this.#advance(stores, campaign, verdict.because, moves);
      else await this.#end(stores, campaign, verdict.do === 'stop' ? 'stopped' : 'completed', verdict.because, moves);
    }
  }

  async #verdict(stores: Stores, campaign: Campaign): Promise<Verdict> {
    const { itemId, version } = campaign;
    const units: UnitProgress[] = [];
    for (const systemId of await stageUnits(stores, campaign)) {
      units.push(progressOf(await this.#facts(stores, systemId), itemId, version));
    }
    return judgeCampaign(campaign, units);
  }

  /** Begins the next stage, unless its units must not have the version: it may have been rejected since. */
  async #advance(stores: Stores, campaign: Campaign, reason: string, moves: Moves): Promise<void> {
    const { itemId, version, stages, stage } = campaign;
    const item = await stores.items.get(itemId, version);
    const refusal = refusalOf(item, await verifies(stores, stages[stage + 1]!));
    if (refusal === undefined) await this.#next(stores, campaign, reason, moves);
    else await this.#end(stores, campaign, 'stopped', refusal, moves);
  }

  async #next(stores: Stores, campaign: Campaign, reason: string, moves: Moves): Promise<void> {
    const stage = campaign.stage + 1;
    await stores.campaigns.set(campaign.id, { state: 'running', stage, reason }, this.#parts.now());
    await this.#give(stores, campaign, stage, moves);
  }

  /** Gives the version to the units of a stage that are to have the item in an older one. */
  async #give(stores: Stores, { id, itemId, version, stages }: Campaign, stage: number, moves: Moves): Promise<void> {
    const givenAt = this.#parts.now().toISOString();
    for (const systemId of (await stores.unitSets.find(stages[stage]!))?.units ?? []) {
      const current = (await wantedOn(stores, systemId)).find((wanted) => wanted.itemId === itemId)?.version;
      if (!takesPart(current, version)) continue;
      const deployment = await stores.deployments.find(systemId, itemId);
      if (deployment) {
        await stores.deployments.put(systemId, { ...deployment, version, formerVersion: deployment.version });
      } else await stores.campaigns.release(systemId, itemId, version);
      await stores.campaigns.addUnit(id, { systemId, stage, formerVersion: current ?? null, givenAt });
      moves.touched.push(systemId);
    }
  }

  async #end(
    stores: Stores,
    { id, stage }: Campaign,
    state: 'stopped' | 'completed',
    reason: string,
    moves: Moves,
  ): Promise<void> {
    await stores.campaigns.set(id, { state, stage, reason }, this.#parts.now());
    moves.ended = { state, reason };
  }

  async #facts(stores: Stores, systemId: string) {
    return { systemId, online: this.#parts.isOnline(systemId), picture: await stores.units.picture(systemId) };
  }
}

/** Two campaigns with one item that may reach the same unit: those of two fleets do not, those of an OEM may reach all. */
const areInTheWay = (one: NewCampaign, other: NewCampaign): boolean =>
  one.itemId === other.itemId && (one.fleet === other.fleet || one.fleet === '' || other.fleet === '');

const isAsBefore = ({ reason }: Campaign, verdict: Verdict): boolean =>
  verdict.do === 'wait' && verdict.because === reason;

/** Throws `wrongState` for a campaign that has ended. */
async function running({ campaigns }: Stores, id: string): Promise<Campaign> {
  const campaign = await campaigns.get(id);
  if (campaign.state === 'running') return campaign;
  throw new AosError('wrongState', `campaign ${id} is ${campaign.state}: ${campaign.reason}`);
}

/** Whether the units of a set take versions that nobody has verified yet. */
async function verifies({ unitSets }: Stores, set: string): Promise<boolean> {
  return (await unitSets.find(set))?.verification ?? false;
}

async function stageUnits({ campaigns }: Pick<Stores, 'campaigns'>, { id, stage }: Campaign): Promise<string[]> {
  const reached = await campaigns.units(id);
  return reached.filter((unit) => unit.stage === stage).map(({ systemId }) => systemId);
}
