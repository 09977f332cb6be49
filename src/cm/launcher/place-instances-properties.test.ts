/** What holds for placements of every unit. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { manifest, node, runtime, wanted } from './facts-for-tests.ts';
import type { Placement, PlacementInput } from './model.ts';
import { placeInstances } from './place-instances.ts';

const DISK = { storage: 1 << 30, state: 1 << 30, shared: false };

/** `node/runtime` of each instance, or the text of its error. */
function where(placements: readonly Placement[]): string[] {
  return placements.map((placement) => (placement.place ? placement.place.runtimeId : placement.error.message));
}

describe('for every unit', () => {
  const amount = fc.integer({ min: 0, max: 600 });
  const anyNode = fc.record({
    priority: fc.integer({ min: 0, max: 2 }),
    maxDmips: fc.integer({ min: 0, max: 2000 }),
    totalRam: fc.integer({ min: 0, max: 2000 }),
    labels: fc.subarray(['a', 'b']),
    connected: fc.boolean(),
    shares: fc.integer({ min: 0, max: 3 }),
    slots: fc.integer({ min: 0, max: 4 }),
    own: fc.option(fc.integer({ min: 0, max: 1000 }), { nil: undefined }),
  });
  const anyInstance = fc.record({
    cpu: amount,
    ram: amount,
    labels: fc.subarray(['a', 'b']),
    resource: fc.boolean(),
    onNode: fc.option(fc.nat({ max: 5 }), { nil: undefined }),
  });
  const anyUnit = fc
    .record({
      nodes: fc.array(anyNode, { minLength: 1, maxLength: 6 }),
      instances: fc.array(anyInstance, { maxLength: 25 }),
      mode: fc.constantFrom('launch' as const, 'rebalance' as const),
    })
    .map(
      ({ nodes, instances, mode }): PlacementInput => ({
        mode,
        disk: DISK,
        nodes: nodes.map((one, index) =>
          node(`n${index}`, {
            priority: one.priority,
            maxDmips: one.maxDmips,
            totalRam: one.totalRam,
            labels: one.labels,
            connected: one.connected,
            runtimes: [runtime('runc', `n${index}`, { maxInstances: one.slots, allowedDmips: one.own })],
            resources: [{ name: 'can0', sharedCount: one.shares }],
          }),
        ),
        instances: instances.map((one, index) =>
          wanted(
            'item',
            index,
            [{ requested: { cpu: one.cpu, ram: one.ram }, resources: one.resource ? ['can0'] : [] }],
            {
              labels: one.labels,
              ...(one.onNode === undefined
                ? {}
                : {
                    present: {
                      nodeId: `n${one.onNode}`,
                      runtimeId: `runc@n${one.onNode}`,
                      manifestDigest: 'sha256:m1',
                    },
                  }),
            },
          ),
        ),
      }),
    );

  /** Where everything went, as input of the next round. */
  const applied = (input: PlacementInput, placements: readonly Placement[]): PlacementInput => ({
    ...input,
    instances: placements.map(({ wanted: one, ...rest }) => {
      const { present: _present, ...others } = one;
      return 'place' in rest && rest.place
        ? { ...others, present: { ...rest.place, manifestDigest: rest.manifestDigest } }
        : others;
    }),
  });

  test('[CM-66] [CM-67] [CM-68] no node, runtime or resource is given out twice', () =>
    fc.assert(
      fc.property(anyUnit, (input) => {
        const placements = placeInstances(input);
        for (const facts of input.nodes) {
          const here = placements.filter(({ place: at }) => at?.nodeId === facts.nodeId);
          const sum = (what: 'cpu' | 'ram') =>
            here.reduce((total, { wanted: one }) => {
              const first =
                'manifests' in one.item ? (one.item.manifests[0] as ReturnType<typeof manifest>) : manifest();
              return total + (first.requested[what] ?? 0);
            }, 0);
          const [only] = facts.runtimes;
          expect(sum('cpu')).toBeLessThanOrEqual(only!.allowedDmips ?? facts.maxDmips);
          expect(sum('ram')).toBeLessThanOrEqual(facts.totalRam);
          if (only!.maxInstances > 0) expect(here.length).toBeLessThanOrEqual(only!.maxInstances);
          const [resource] = facts.resources;
          const takers = here.filter(
            ({ wanted: one }) =>
              'manifests' in one.item && (one.item.manifests[0] as ReturnType<typeof manifest>).resources.length > 0,
          );
          if (resource!.sharedCount > 0) expect(takers.length).toBeLessThanOrEqual(resource!.sharedCount);
          if (!facts.connected) expect(here).toEqual([]);
        }
      }),
    ));

  test('[CM-69] equal input gives equal output', () =>
    fc.assert(
      fc.property(anyUnit, (input) => {
        expect(placeInstances(input)).toEqual(placeInstances(structuredClone(input)));
      }),
    ));

  test('[CM-73] placing again what is placed moves nothing', () =>
    fc.assert(
      fc.property(anyUnit, (input) => {
        // A rebalance serves instances that have a place before those that have none; from then on all have one.
        const settled = input.mode === 'launch' ? input : applied(input, placeInstances(input));
        const first = placeInstances(settled);
        const second = placeInstances(applied(settled, first));
        expect(second.map(({ place: at }) => at)).toEqual(first.map(({ place: at }) => at));
      }),
    ));

  test('[CM-60] what comes first in the order is never refused for what comes later', () =>
    fc.assert(
      fc.property(anyUnit, (input) => {
        const launch = { ...input, mode: 'launch' as const };
        const all = placeInstances(launch);
        const half = Math.floor(input.instances.length / 2);
        const fewer = placeInstances({ ...launch, instances: input.instances.slice(0, half) });
        expect(where(all.slice(0, half))).toEqual(where(fewer));
      }),
    ));

  test('[P-03] every node and runtime that was not chosen has a reason', () =>
    fc.assert(
      fc.property(anyUnit, (input) => {
        for (const placement of placeInstances(input)) {
          if (placement.because.startsWith('it stays: its item')) continue;
          const chosen = placement.place?.nodeId;
          const explained = new Set(placement.notChosen.map(({ nodeId }) => nodeId));
          for (const { nodeId } of input.nodes) expect(nodeId === chosen || explained.has(nodeId)).toBe(true);
        }
      }),
    ));
});

test('[B-06] 10,000 instances on 100 nodes are placed, the highest priorities first', () => {
  const nodes = Array.from({ length: 100 }, (_, index) =>
    node(`n${String(index).padStart(3, '0')}`, { maxDmips: 10_000 }),
  );
  const item = { manifests: [manifest({ quotas: { cpu: 100 } })] };
  const instances = Array.from({ length: 10_000 }, (_, index) => wanted('a', index, [], { item }));
  const placements = placeInstances({ mode: 'launch', nodes, instances, disk: DISK }, { explain: () => false });
  expect(placements.every(({ place: at }) => at !== undefined)).toBe(true);
});
