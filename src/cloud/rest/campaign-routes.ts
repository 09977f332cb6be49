/** Campaigns. */
import * as z from 'zod';
import { AosError } from '../../core/index.ts';
import { seesFleet } from '../access/roles.ts';
import { deployableItem } from '../domain/deployable-item.ts';
import type { Campaign } from '../store/campaigns.ts';
import type { Stores } from '../store/stores.ts';
import type { UnitSet } from '../store/unit-sets.ts';
import type { RestParts } from './parts.ts';
import type { Call, Router } from './router.ts';

const Name = z.string().min(1).max(64);
const CampaignRequest = z.object({
  itemId: Name,
  version: z.string(),
  /** Names of unit sets, in their order. */
  stages: z.array(Name).min(1).max(32),
  /** Whether the next stage begins by itself. */
  automatic: z.boolean().default(true),
});
const StopRequest = z.object({ reason: z.string().max(256).optional() }).prefault({});

export function campaignRoutes(router: Router, { database, campaigns }: RestParts): void {
  const view = async (stores: Stores, campaign: Campaign) => ({
    ...campaign,
    units: await campaigns.progress(stores, campaign.id),
  });
  const viewNow = (campaign: Campaign) => database.read((stores) => view(stores, campaign));
  const campaignOf = async (stores: Stores, call: Call): Promise<Campaign> => {
    const campaign = await stores.campaigns.get(call.param('campaign'));
    if (seesFleet(call.actor, campaign.fleet)) return campaign;
    throw new AosError('notFound', `there is no campaign "${campaign.id}"`);
  };
  /** The campaign of a call; nobody else sees another fleet's, and that never changes. */
  const idOf = async (call: Call): Promise<string> => (await database.read((stores) => campaignOf(stores, call))).id;

  router.on('GET', '/api/campaigns', async (call) => {
    const wanted = call.query('state');
    const all = await database.read((stores) => stores.campaigns.list());
    const seen = all.filter(({ fleet }) => seesFleet(call.actor, fleet));
    return { status: 200, value: seen.filter(({ state }) => wanted === undefined || state === wanted) };
  });

  router.on('GET', '/api/campaigns/:campaign', async (call) => ({
    status: 200,
    value: await database.read(async (stores) => view(stores, await campaignOf(stores, call))),
  }));

  router.on(
    'POST',
    '/api/campaigns',
    async (call) => {
      const value = await call.read(CampaignRequest, 'the campaign');
      const { actor } = call;
      const wanted = {
        ...value,
        fleet: actor.role === 'fleetOwner' ? actor.scope : '',
        createdBy: actor.name,
      };
      const campaign = await campaigns.create(wanted, async (stores) => {
        const sets: UnitSet[] = [];
        for (const name of value.stages) sets.push(await stores.unitSets.get(name));
        const foreign = sets.find((set) => !seesFleet(actor, set.fleet));
        if (foreign) throw new AosError('notFound', `there is no unit set "${foreign.name}"`);
        const verifies = sets.every(({ verification }) => verification);
        await deployableItem(stores, value.itemId, value.version, verifies);
      });
      return { status: 201, value: await viewNow(campaign) };
    },
    CampaignRequest,
  );

  router.on('POST', '/api/campaigns/:campaign/advance', async (call) => ({
    status: 200,
    value: await viewNow(await campaigns.advance(await idOf(call))),
  }));

  router.on(
    'POST',
    '/api/campaigns/:campaign/stop',
    async (call) => {
      const value = await call.read(StopRequest, 'the request');
      const reason = value.reason ?? `stopped by ${call.actor.name}`;
      return { status: 200, value: await viewNow(await campaigns.halt(await idOf(call), reason)) };
    },
    StopRequest,
  );
}
