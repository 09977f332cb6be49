/**
 * A unit whose nodes come and go over simulated days, placed again after each event by the same function that the CM
 * uses; what must always hold is checked each time. Nothing but CPU is used, and equal seeds give equal days.
 */
import { isDeepStrictEqual } from 'node:util';
import { manifest, node, runtime, wanted } from '../src/cm/launcher/facts-for-tests.ts';
import type { ManifestFacts, NodeFacts, Placement, PlacementInput, WantedInstance } from '../src/cm/launcher/model.ts';
import { placeInstances } from '../src/cm/launcher/place-instances.ts';

export interface PlacementSimulation {
  readonly nodes: number;
  readonly instances: number;
  readonly days: number;
  readonly eventsPerDay: number;
  readonly seed: number;
  readonly report?: (line: string) => void;
}

export interface PlacementResult {
  readonly events: number;
  /** Instances that left a node where they ran for another one. */
  readonly moves: number;
  /** Instances without a place, summed over all events. */
  readonly failures: number;
  readonly longestMs: number;
  readonly medianMs: number;
  /** What did not hold, in words; empty when all is well. */
  readonly violations: readonly string[];
}

type Random = () => number;

interface World {
  readonly nodes: NodeFacts[];
  instances: WantedInstance[];
  mode: PlacementInput['mode'];
}

const DISK = { storage: 2 ** 50, state: 2 ** 50, shared: false };
const LABELS = ['front', 'rear', 'lab'];
const SCARCE = 'camera';
const TEMPLATES: readonly Partial<ManifestFacts>[] = [
  { requested: { cpu: 20, ram: 16 } },
  { requested: { cpu: 50, ram: 8 } },
  { requested: { cpu: 10, ram: 64 }, runtimes: ['crun'] },
  { requested: { cpu: 30, ram: 16 }, resources: [SCARCE] },
  { requested: { cpu: 20, ram: 16 }, staysOnNode: true },
];
const LABELLED = 0.2;
const MAX_VIOLATIONS = 20;
/** Equal input is placed a second time once in so many events. */
const REPEATED_EACH = 10;

/** Runs the days. Throws nothing for what does not hold: it is in the result. */
export function simulatePlacement(options: PlacementSimulation): PlacementResult {
  const random = mulberry32(options.seed);
  const world = makeWorld(options, random);
  const times: number[] = [];
  const violations: string[] = [];
  let [moves, failures] = [0, 0];
  const events = options.days * options.eventsPerDay;
  for (let event = 0; event <= events && violations.length < MAX_VIOLATIONS; event += 1) {
    const what = event === 0 ? 'the first desired status' : happen(world, random);
    const input: PlacementInput = { mode: world.mode, nodes: world.nodes, instances: world.instances, disk: DISK };
    const begin = performance.now();
    const placements = placeInstances(input, { explain: () => false });
    times.push(performance.now() - begin);
    const moved = placements.filter(isMoved);
    moves += moved.length;
    const failed = placements.filter(({ place }) => !place).length;
    failures += failed;
    const broken = [...brokenPromises(input, placements)];
    if (event % REPEATED_EACH === 0) {
      const again = placeInstances(structuredClone(input), { explain: () => false });
      if (!isDeepStrictEqual(again.map(placeOf), placements.map(placeOf))) broken.push('equal input, another output');
    }
    violations.push(...broken.map((text) => `event ${event} (${what}): ${text}`));
    if (event % options.eventsPerDay === 0) {
      const day = event / options.eventsPerDay;
      options.report?.(`day ${day}: ${what}; ${moves} moves so far, ${failed} of ${placements.length} without a place`);
    }
    world.instances = placements.map(settled);
  }
  times.sort((a, b) => a - b);
  return {
    events,
    moves,
    failures,
    longestMs: times.at(-1) ?? 0,
    medianMs: times[times.length >> 1] ?? 0,
    violations,
  };
}

function makeWorld({ nodes, instances }: PlacementSimulation, random: Random): World {
  return {
    mode: 'launch',
    nodes: Array.from({ length: nodes }, (_, index) => {
      const nodeId = `node${String(index).padStart(3, '0')}`;
      const runtimes = [runtime('runc', nodeId), ...(chance(random, 0.5) ? [runtime('crun', nodeId)] : [])];
      return node(nodeId, {
        maxDmips: 2000 + pick(random, 4) * 1000,
        totalRam: 2048 + pick(random, 3) * 1024,
        priority: pick(random, 3) * 10,
        labels: LABELS.filter(() => chance(random, 0.4)),
        cpuRule: { minThreshold: 60, maxThreshold: 80 },
        runtimes,
        resources: chance(random, 0.3) ? [{ name: SCARCE, sharedCount: 1 + pick(random, 3) }] : [],
      });
    }),
    instances: Array.from({ length: instances }, (_, index) => newInstance(index, instances, random)),
  };
}

/** Priorities fall with the index, since the caller of the placement hands them over in that order. */
function newInstance(index: number, count: number, random: Random): WantedInstance {
  const template = pick(random, TEMPLATES.length);
  const labels = chance(random, LABELLED) ? [LABELS[pick(random, LABELS.length)]!] : [];
  const priority = Math.floor(((count - index) * 10) / count);
  return wanted(`item${template}`, index, [], {
    priority,
    labels,
    item: { manifests: [manifest(TEMPLATES[template])] },
  });
}

/** Lets one thing happen; its name. */
function happen(world: World, random: Random): string {
  const index = pick(random, world.nodes.length);
  const facts = world.nodes[index]!;
  const change = (more: Partial<NodeFacts>) => {
    world.nodes[index] = { ...facts, ...more };
  };
  world.mode = 'rebalance';
  switch (pick(random, 5)) {
    case 0:
      change({ connected: !facts.connected });
      return facts.connected ? `${facts.nodeId} is lost` : `${facts.nodeId} returns`;
    case 1:
      change({ state: facts.state === 'paused' ? 'provisioned' : 'paused' });
      return facts.state === 'paused' ? `${facts.nodeId} goes on` : `${facts.nodeId} pauses`;
    case 2:
      change({ labels: LABELS.filter(() => chance(random, 0.4)) });
      return `${facts.nodeId} has other labels`;
    case 3: {
      const isBusy = facts.usage.cpu > 0;
      const cpu = isBusy ? 0 : Math.floor(facts.maxDmips * 0.9);
      change({ usage: { cpu, ram: 0 }, instancesUsage: { cpu: Math.floor(cpu * 0.8), ram: 0 } });
      return isBusy ? `${facts.nodeId} is relieved` : `${facts.nodeId} is overloaded`;
    }
    default: {
      world.mode = 'launch';
      const replaced = Math.ceil(world.instances.length / 50);
      const from = pick(random, world.instances.length);
      world.instances = world.instances.map((one, at) =>
        at >= from && at < from + replaced ? newInstance(at, world.instances.length, random) : one,
      );
      return 'a new desired status';
    }
  }
}

function* brokenPromises(input: PlacementInput, placements: readonly Placement[]): Generator<string> {
  if (placements.length !== input.instances.length) yield 'not every instance has an answer';
  const taken = new Map(input.nodes.map((facts) => [facts.nodeId, { facts, cpu: 0, ram: 0, scarce: 0 }]));
  for (const placement of placements) {
    if (!placement.place) continue;
    const at = taken.get(placement.place.nodeId)!;
    const { requested, resources } = placement.manifest!;
    at.cpu += requested.cpu ?? 0;
    at.ram += requested.ram ?? 0;
    at.scarce += resources.includes(SCARCE) ? 1 : 0;
    if (!isUsable(at.facts)) yield `${at.facts.nodeId} is no candidate and got an instance`;
  }
  for (const { facts, cpu, ram, scarce } of taken.values()) {
    const shares = facts.resources[0]?.sharedCount ?? 0;
    if (cpu > facts.maxDmips || ram > facts.totalRam) yield `${facts.nodeId} is over-allocated: ${cpu} DMIPS, ${ram}`;
    if (scarce > shares) yield `${facts.nodeId} gives its ${shares} shares to ${scarce} instances`;
  }
  yield* movesWithoutReason(taken, placements);
  if (input.mode === 'launch') yield* passedOver(placements);
}

type Taken = ReadonlyMap<string, { readonly facts: NodeFacts; readonly cpu: number; readonly ram: number }>;

/** A node that is left must be gone, overloaded, unfit, of lower priority than the new one, or full. */
function* movesWithoutReason(taken: Taken, placements: readonly Placement[]): Generator<string> {
  for (const placement of placements.filter(isMoved)) {
    const { wanted: one, place, manifest: image } = placement as Placement & { place: object };
    const left = taken.get(one.present!.nodeId)!;
    const system = left.facts.usage.cpu - left.facts.instancesUsage.cpu;
    const hasReason =
      !isUsable(left.facts) ||
      isOverloaded(left.facts) ||
      !one.labels.every((label) => left.facts.labels.includes(label)) ||
      taken.get(place!.nodeId)!.facts.priority > left.facts.priority ||
      image!.resources.length > 0 ||
      left.cpu + system + (image!.requested.cpu ?? 0) > left.facts.maxDmips ||
      left.ram + (image!.requested.ram ?? 0) > left.facts.totalRam;
    if (!hasReason) yield `${one.ident.itemId}/${one.ident.instance} left ${left.facts.nodeId} without a reason`;
  }
}

/** Of instances that ask for the same, none gets a place when one before it in the order got none. */
function* passedOver(placements: readonly Placement[]): Generator<string> {
  const refused = new Set<string>();
  for (const { wanted: one, place } of placements) {
    const asks = `${one.ident.itemId} ${one.labels}`;
    if (!place) refused.add(asks);
    else if (refused.has(asks)) yield `${one.ident.itemId}/${one.ident.instance} was served before an earlier one`;
  }
}

function isUsable(facts: NodeFacts): boolean {
  return facts.connected && facts.state === 'provisioned';
}

function isOverloaded({ usage, maxDmips, cpuRule }: NodeFacts): boolean {
  return cpuRule !== undefined && usage.cpu > (maxDmips * cpuRule.maxThreshold) / 100;
}

function isMoved({ wanted: one, place }: Placement): boolean {
  return one.present !== undefined && place !== undefined && place.nodeId !== one.present.nodeId;
}

function placeOf({ place }: Placement): unknown {
  return place;
}

/** The instance where it runs now; one without a place remembers none. */
function settled(placement: Placement): WantedInstance {
  const { present: _, ...one } = placement.wanted;
  return placement.place ? { ...one, present: { ...placement.place, manifestDigest: placement.manifestDigest } } : one;
}

function chance(random: Random, probability: number): boolean {
  return random() < probability;
}

function pick(random: Random, count: number): number {
  return Math.floor(random() * count);
}

/** A small generator with a seed, so that a bad day can be lived again. */
function mulberry32(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
