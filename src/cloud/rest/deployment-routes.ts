/** What is wanted on units. */
import * as z from 'zod';
import { AosError } from '../../core/index.ts';
import { deployableItem } from '../domain/deployable-item.ts';
import type { Deployment } from '../store/deployments.ts';
import type { Stores } from '../store/stores.ts';
import type { RestParts } from './parts.ts';
import type { Router } from './router.ts';
import { unitOf } from './unit-of.ts';

const DEFAULT_SUBJECT = 'default';

const Name = z.string().min(1).max(64);
const Count = z.int().min(0);

const DeploymentRequest = z.object({
  /** Absent: the version that is deployed. */
  version: z.string().optional(),
  subject: Name.optional(),
  numInstances: Count.max(10_000).optional(),
  priority: Count.max(999_999).optional(),
  labels: z.array(Name).max(16).optional(),
});

export function deploymentRoutes(router: Router, parts: RestParts): void {
  const { database, fleet, events } = parts;

  /** Tells the unit, and those who follow it, of a wish. */
  const tell = (systemId: string, itemId: string, version: string | null) => {
    events.publish(systemId, 'deployment', { itemId, version });
    fleet.desiredChanged(systemId);
  };

  router.on('GET', '/api/units/:unit/deployments', async (call) => ({
    status: 200,
    value: await database.read(async (stores) => stores.deployments.list(await unitOf(stores, call))),
  }));

  router.on(
    'PUT',
    '/api/units/:unit/deployments/:item',
    async (call) => {
      const request = await call.read(DeploymentRequest, 'the deployment');
      const itemId = call.param('item');
      const { systemId, deployment } = await database.write(async (stores) => {
        const id = await unitOf(stores, call);
        const former = await stores.deployments.find(id, itemId);
        const version = request.version ?? (await deployedOn(stores, id, itemId)).version;
        const item = await deployableItem(stores, itemId, version, await verifies(stores, id));
        const { defaults } = item;
        const wanted: Deployment = {
          ...{ itemId, version },
          subject: request.subject ?? former?.subject ?? DEFAULT_SUBJECT,
          numInstances:
            request.numInstances ??
            former?.numInstances ??
            defaults.numInstances ??
            // A component without a number runs once on each runtime that fits.
            (item.type === 'service' ? 1 : 0),
          priority: request.priority ?? former?.priority ?? defaults.priority ?? 0,
          labels: request.labels ?? former?.labels ?? defaults.labels ?? [],
        };
        return { systemId: id, deployment: await want(stores, id, wanted, former) };
      });
      tell(systemId, itemId, deployment.version);
      return { status: 200, value: deployment };
    },
    DeploymentRequest,
  );

  router.on('POST', '/api/units/:unit/deployments/:item/rollback', async (call) => {
    const { systemId, deployment } = await database.write(async (stores) => {
      const id = await unitOf(stores, call);
      const former = await deployedOn(stores, id, call.param('item'));
      const { itemId, formerVersion } = former;
      if (formerVersion === undefined) {
        throw new AosError('wrongState', `no version of ${itemId} was deployed on unit ${id} before ${former.version}`);
      }
      // It may have been rejected since.
      const { version } = await deployableItem(stores, itemId, formerVersion, await verifies(stores, id));
      return { systemId: id, deployment: await want(stores, id, { ...former, version }, former) };
    });
    tell(systemId, deployment.itemId, deployment.version);
    return { status: 200, value: deployment };
  });

  router.on('DELETE', '/api/units/:unit/deployments/:item', async (call) => {
    const { systemId, itemId } = await database.write(async (stores) => {
      const id = await unitOf(stores, call);
      const deployment = await deployedOn(stores, id, call.param('item'));
      await stores.deployments.remove(id, deployment.itemId);
      return { systemId: id, itemId: deployment.itemId };
    });
    tell(systemId, itemId, null);
    return { status: 204 };
  });
}

/** Whether the unit takes versions that nobody has verified yet. */
async function verifies({ unitSets }: Stores, systemId: string): Promise<boolean> {
  return (await unitSets.ofUnit(systemId)).some(({ verification }) => verification);
}

/** Throws `notFound`. */
async function deployedOn({ deployments }: Stores, systemId: string, itemId: string): Promise<Deployment> {
  const deployment = await deployments.find(systemId, itemId);
  if (!deployment) throw new AosError('notFound', `item "${itemId}" is not deployed on unit ${systemId}`);
  return deployment;
}

/** Stores a wish, with the version before it. */
async function want(
  { deployments }: Stores,
  systemId: string,
  wanted: Deployment,
  former: Deployment | undefined,
): Promise<Deployment> {
  const isOther = former !== undefined && former.version !== wanted.version;
  const formerVersion = isOther ? former.version : former?.formerVersion;
  const deployment = { ...wanted, ...(formerVersion !== undefined && { formerVersion }) };
  await deployments.put(systemId, deployment);
  return deployment;
}
