/** What is wanted on units. */
import * as z from 'zod';
import { AosError } from '../../core/index.ts';
import type { Deployment } from '../store/deployments.ts';
import { deployableItem } from './deployable-item.ts';
import type { RestParts } from './parts.ts';
import type { Call, Router } from './router.ts';

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
  const { stores, fleet, events } = parts;
  const { units, deployments } = stores;
  const unitOf = (call: Call): string => units.get(call.param('unit')).systemId;

  const deployedOn = (systemId: string, itemId: string): Deployment => {
    const deployment = deployments.find(systemId, itemId);
    if (!deployment) throw new AosError('notFound', `item "${itemId}" is not deployed on unit ${systemId}`);
    return deployment;
  };

  /** Stores a wish and tells the unit of it. */
  const want = (systemId: string, wanted: Deployment, former: Deployment | undefined): Deployment => {
    const isOther = former !== undefined && former.version !== wanted.version;
    const formerVersion = isOther ? former.version : former?.formerVersion;
    const deployment = { ...wanted, ...(formerVersion !== undefined && { formerVersion }) };
    deployments.put(systemId, deployment);
    events.publish(systemId, 'deployment', { itemId: wanted.itemId, version: wanted.version });
    fleet.desiredChanged(systemId);
    return deployment;
  };

  router.on('GET', '/api/units/:unit/deployments', (call) => ({
    status: 200,
    value: deployments.list(unitOf(call)),
  }));

  router.on(
    'PUT',
    '/api/units/:unit/deployments/:item',
    async (call) => {
      const request = await call.read(DeploymentRequest, 'the deployment');
      const systemId = unitOf(call);
      const itemId = call.param('item');
      const former = deployments.find(systemId, itemId);
      const version = request.version ?? deployedOn(systemId, itemId).version;
      const verifies = stores.unitSets.ofUnit(systemId).some(({ verification }) => verification);
      const item = deployableItem(stores, itemId, version, verifies);
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
      return { status: 200, value: want(systemId, wanted, former) };
    },
    DeploymentRequest,
  );

  router.on('POST', '/api/units/:unit/deployments/:item/rollback', (call) => {
    const systemId = unitOf(call);
    const former = deployedOn(systemId, call.param('item'));
    const { itemId, formerVersion } = former;
    if (formerVersion === undefined) {
      throw new AosError(
        'wrongState',
        `no version of ${itemId} was deployed on unit ${systemId} before ${former.version}`,
      );
    }
    const { version } = stores.items.get(itemId, formerVersion);
    return { status: 200, value: want(systemId, { ...former, version }, former) };
  });

  router.on('DELETE', '/api/units/:unit/deployments/:item', (call) => {
    const systemId = unitOf(call);
    const { itemId } = deployedOn(systemId, call.param('item'));
    deployments.remove(systemId, itemId);
    events.publish(systemId, 'deployment', { itemId, version: null });
    fleet.desiredChanged(systemId);
    return { status: 204 };
  });
}
