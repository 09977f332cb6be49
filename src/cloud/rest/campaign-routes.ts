/** Campaigns. */
import * as z from 'zod';
import { AosError } from '../../core/index.ts';
import { seesFleet } from '../access/roles.ts';
import type { Campaign } from '../store/campaigns.ts';
import { deployableItem } from './deployable-item.ts';
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

export function campaignRoutes(router: Router, { stores, campaigns }: RestParts): void {
  const view = (campaign: Campaign) => ({ ...campaign, units: campaigns.progress(campaign.id) });
  const campaignOf = (call: Call): string => {
    const campaign = stores.campaigns.get(call.param('campaign'));
    if (seesFleet(call.actor, campaign.fleet)) return campaign.id;
    throw new AosError('notFound', `there is no campaign "${campaign.id}"`);
  };

  router.on('GET', '/api/campaigns', (call) => {
    const wanted = call.query('state');
    const seen = stores.campaigns.list().filter(({ fleet }) => seesFleet(call.actor, fleet));
    return { status: 200, value: seen.filter(({ state }) => wanted === undefined || state === wanted) };
  });

  router.on('GET', '/api/campaigns/:campaign', (call) => ({
    status: 200,
    value: view(stores.campaigns.get(campaignOf(call))),
  }));

  router.on(
    'POST',
    '/api/campaigns',
    async (call) => {
      const value = await call.read(CampaignRequest, 'the campaign');
      const { actor } = call;
      const sets = value.stages.map((name) => stores.unitSets.get(name));
      const foreign = sets.find((set) => !seesFleet(actor, set.fleet));
      if (foreign) throw new AosError('notFound', `there is no unit set "${foreign.name}"`);
      deployableItem(
        stores,
        value.itemId,
        value.version,
        sets.every(({ verification }) => verification),
      );
      const campaign = campaigns.create({
        ...value,
        fleet: actor.role === 'fleetOwner' ? actor.scope : '',
        createdBy: actor.name,
      });
      return { status: 201, value: view(campaign) };
    },
    CampaignRequest,
  );

  router.on('POST', '/api/campaigns/:campaign/advance', (call) => ({
    status: 200,
    value: view(campaigns.advance(campaignOf(call))),
  }));

  router.on(
    'POST',
    '/api/campaigns/:campaign/stop',
    async (call) => {
      const value = await call.read(StopRequest, 'the request');
      const reason = value.reason ?? `stopped by ${call.actor.name}`;
      return { status: 200, value: view(campaigns.halt(campaignOf(call), reason)) };
    },
    StopRequest,
  );
}
