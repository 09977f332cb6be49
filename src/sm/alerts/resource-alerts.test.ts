import { expect, test } from 'vitest';
import { AosError, asAosError, systemClock } from '../../core/index.ts';
import { NodeResource, NodeResources, refuseResource } from '../resources/index.ts';
import { ResourceAlerts } from './resource-alerts.ts';

const ident = { itemId: 'a', subjectId: 's', instance: 2, type: 'service', preinstalled: false } as const;

interface Sent {
  readonly timestamp: { readonly seconds: bigint; readonly nanos: number };
  readonly AlertItem: { readonly case: string; readonly value: Record<string, unknown> };
}

function setUp() {
  const world = { nowMs: 0, sent: [] as Sent[] };
  const alerts = new ResourceAlerts({
    clock: { ...systemClock, monotonicMs: () => world.nowMs, now: () => new Date(-1_250) },
    send: ({ value }) => world.sent.push(value as unknown as Sent),
  });
  return { alerts, world };
}

const told = ({ sent }: { readonly sent: readonly Sent[] }) => sent.map(({ AlertItem }) => AlertItem.value.message);

function unknown(name: string): AosError {
  try {
    new NodeResources([]).find(name);
  } catch (error) {
    return asAosError(error);
  }
  throw new Error('it was found');
}

test('[SM-32] [SM-33] what a node cannot give an instance is an alert with instance, resource and reason', () => {
  const { alerts, world } = setUp();
  alerts.take(ident, unknown('lidar'));
  expect(world.sent).toEqual([
    {
      // Also before 1970, where a clock without a battery may be.
      timestamp: { seconds: -2n, nanos: 750_000_000 },
      AlertItem: {
        case: 'resourceAllocateAlert',
        value: {
          instance: expect.objectContaining({ itemId: 'a', subjectId: 's', instance: 2n }),
          resource: 'lidar',
          message: 'this node has no resource "lidar"',
        },
      },
    },
  ]);
});

test('[SM-32] a start that is tried again and again is told once a minute, another reason at once', () => {
  const { alerts, world } = setUp();
  const resource = NodeResource.parse({ name: 'can0' });
  const noDevice = refuseResource(resource, new AosError('notFound', 'device /dev/can0: no such file'));
  const noGroup = refuseResource(resource, new AosError('notFound', 'this node has no group "can"'));
  const [device, group] = [
    'device /dev/can0: no such file (resource "can0")',
    'this node has no group "can" (resource "can0")',
  ];
  alerts.take(ident, noDevice);
  world.nowMs = 59_000;
  alerts.take(ident, noDevice);
  expect(told(world)).toEqual([device]);
  alerts.take(ident, noGroup);
  alerts.take({ ...ident, instance: 3 }, noGroup);
  expect(told(world)).toEqual([device, group, group]);
  world.nowMs = 200_000;
  alerts.take(ident, noGroup);
  alerts.forget(ident);
  alerts.take(ident, noGroup);
  expect(told(world)).toEqual([device, group, group, group, group]);
});

test('what else keeps an instance from starting is no alert of a resource; a long reason is cut', () => {
  const { alerts, world } = setUp();
  alerts.take(ident, new AosError('runtime', 'crun cannot start the container'));
  expect(world.sent).toEqual([]);
  alerts.take(ident, refuseResource(NodeResource.parse({ name: 'x' }), new AosError('notFound', 'y'.repeat(300))));
  expect(told(world)).toEqual(['y'.repeat(255)]);
});
