/** Bundles: what units are to become, in a file that is carried to them. */
import * as z from 'zod';
import { AosError } from '../../core/index.ts';
import { BUNDLE_LIMITS, type DesiredStatus } from '../../protocol/index.ts';
import { seesFleet } from '../access/roles.ts';
import { itemsOf, planBundle, writeBundle } from '../bundles/make-bundle.ts';
import type { RestParts } from './parts.ts';
import type { Router } from './router.ts';

const BundleRequest = z.object({
  units: z
    .array(z.string().min(1).max(64))
    .min(1, 'expected at least one unit')
    .max(BUNDLE_LIMITS.units, `expected at most ${BUNDLE_LIMITS.units} units`),
});

export function bundleRoutes(router: Router, { database, fleet, vault, authority, now }: RestParts): void {
  router.on(
    'POST',
    '/api/bundles',
    async (call) => {
      const { actor, response } = call;
      const { units } = await call.read(BundleRequest, 'the bundle');
      const wishes = await database.read(async (stores) => {
        const wanted: { systemId: string; desired: DesiredStatus }[] = [];
        for (const name of new Set(units)) {
          const unit = await stores.units.find(name);
          if (!unit || !seesFleet(actor, unit.fleet)) {
            throw new AosError('notFound', `there is no unit "${name}"; "aosctl units" lists all`);
          }
          wanted.push({ systemId: unit.systemId, desired: await fleet.desiredOf(stores, unit.systemId) });
        }
        return { units: wanted, blobs: await stores.items.blobsOf(itemsOf(wanted)) };
      });
      const bundle = planBundle({ ...wishes, signer: authority.bundleSigner, now: now() });
      response.writeHead(200, { 'content-type': 'application/x-tar', 'cache-control': 'no-store' });
      await writeBundle(bundle, vault, response);
      return undefined;
    },
    BundleRequest,
  );
}
