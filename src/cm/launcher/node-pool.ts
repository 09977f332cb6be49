/** What is still free on the nodes while instances are placed (spec/cm.md 4.6). Pure, without a clock. */
import { LAUNCHER } from '../numbers.ts';
import type {
  Amounts,
  ManifestFacts,
  NodeFacts,
  PlacementInput,
  ResourceAmounts,
  RuntimeFacts,
  Thresholds,
} from './model.ts';

/** What one instance takes on one node. */
export interface Request extends Amounts {
  readonly storage: number;
  readonly state: number;
}

const NOTHING: Request = { cpu: 0, ram: 0, storage: 0, state: 0 };

/** A runtime with its own pools, or those of its node. */
export class RuntimePool {
  readonly facts: RuntimeFacts;
  readonly node: NodePool;
  #ownCpu: number | undefined;
  #ownRam: number | undefined;
  freeSlots: number;

  constructor(facts: RuntimeFacts, node: NodePool) {
    this.facts = facts;
    this.node = node;
    this.#ownCpu = facts.allowedDmips;
    this.#ownRam = facts.allowedRam;
    this.freeSlots = facts.maxInstances === 0 ? LAUNCHER.slotsPerRuntime : facts.maxInstances;
  }

  get freeCpu(): number {
    return this.#ownCpu ?? this.node.freeCpu;
  }

  get freeRam(): number {
    return this.#ownRam ?? this.node.freeRam;
  }

  /** Takes amounts, one slot and one share of each resource. The caller has checked that they are free. */
  reserve(request: Amounts, resources: readonly string[]): void {
    if (this.#ownCpu === undefined) this.node.freeCpu -= request.cpu;
    else this.#ownCpu -= request.cpu;
    if (this.#ownRam === undefined) this.node.freeRam -= request.ram;
    else this.#ownRam -= request.ram;
    this.freeSlots -= 1;
    for (const name of resources) this.node.takeShare(name);
  }
}

export class NodePool {
  readonly facts: NodeFacts;
  /** Instances may be placed here at all. */
  readonly isCandidate: boolean;
  readonly needsBalancing: boolean;
  readonly runtimes: readonly RuntimePool[];
  freeCpu: number;
  freeRam: number;
  readonly #freeShares: Map<string, number>;

  constructor(facts: NodeFacts, mode: PlacementInput['mode']) {
    this.facts = facts;
    this.isCandidate = facts.connected && facts.state === 'provisioned';
    this.needsBalancing =
      mode === 'rebalance' &&
      (isOver(facts.usage.cpu, facts.maxDmips, facts.cpuRule) ||
        isOver(facts.usage.ram, facts.totalRam, facts.ramRule));
    this.freeCpu = this.#available('cpu', facts.maxDmips, facts.cpuRule);
    this.freeRam = this.#available('ram', facts.totalRam, facts.ramRule);
    this.#freeShares = new Map(
      facts.resources.map(({ name, sharedCount }) => [
        name,
        sharedCount === 0 ? Number.POSITIVE_INFINITY : sharedCount,
      ]),
    );
    this.runtimes = facts.runtimes.map((runtime) => new RuntimePool(runtime, this));
  }

  /** The total, lowered to the low water mark when the node is to be relieved, without what the system itself uses. */
  #available(what: 'cpu' | 'ram', total: number, rule: Thresholds | undefined): number {
    const system = Math.max(0, this.facts.usage[what] - this.facts.instancesUsage[what]);
    const limit = this.needsBalancing && rule ? Math.floor((total * rule.minThreshold) / 100) : total;
    return Math.max(0, limit - system);
  }

  hasLabels(labels: readonly string[]): boolean {
    return labels.every((label) => this.facts.labels.includes(label));
  }

  /** Shares of a resource that are left; 0 when the node does not have it. */
  freeShares(name: string): number {
    return this.#freeShares.get(name) ?? 0;
  }

  takeShare(name: string): void {
    this.#freeShares.set(name, this.freeShares(name) - 1);
  }

  /** What an instance of the manifest takes here (spec/cm.md 4.6, "Requested amounts"). */
  requestOf(manifest: ManifestFacts, isComponent: boolean, average: Amounts | undefined): Request {
    if (isComponent || manifest.skipResourceLimits) return NOTHING;
    const measured = this.needsBalancing ? average : undefined;
    return {
      cpu: Math.max(requested('cpu', manifest, this.facts.ratios), measured?.cpu ?? 0),
      ram: Math.max(requested('ram', manifest, this.facts.ratios), measured?.ram ?? 0),
      storage: requested('storage', manifest, this.facts.ratios),
      state: requested('state', manifest, this.facts.ratios),
    };
  }
}

function isOver(used: number, total: number, rule: Thresholds | undefined): boolean {
  return rule !== undefined && used > (total * rule.maxThreshold) / 100;
}

function requested(what: keyof ResourceAmounts, manifest: ManifestFacts, ratios: ResourceAmounts): number {
  const quota = manifest.quotas[what];
  const asked = manifest.requested[what];
  if (asked !== undefined) return quota === undefined ? asked : Math.min(asked, quota);
  if (quota === undefined) return 0;
  const percent = Math.min(100, ratios[what] ?? LAUNCHER.defaultRatioPercent);
  return Math.floor((quota * percent) / 100 + 0.5);
}

/** Room for storages and states on the main node's disks. */
export class DiskBudget {
  #storage: number;
  #state: number;
  readonly #shared: boolean;

  constructor(disk: PlacementInput['disk']) {
    this.#storage = disk.storage;
    this.#state = disk.state;
    this.#shared = disk.shared;
  }

  /** The text of the error when the request does not fit. */
  shortage(request: Request): string | undefined {
    if (request.storage > this.#storage) return 'not enough storage space';
    const freeState = this.#shared ? this.#storage - request.storage : this.#state;
    return request.state > freeState ? 'not enough state space' : undefined;
  }

  take(request: Request): void {
    this.#storage -= request.storage;
    if (this.#shared) this.#storage -= request.state;
    else this.#state -= request.state;
  }
}
