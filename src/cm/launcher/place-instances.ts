/**
 * Where each instance goes, and why (spec/cm.md 4.5–4.8 with spec/decisions.md CM-31: placement is stable).
 * A pure function: equal input gives equal output.
 */
import { ERROR_CODES, type ErrorInfo, shortenMessage } from '../../core/index.ts';
import { type Candidate, findCandidates } from './candidates.ts';
import {
  isUsable,
  type ManifestFacts,
  type NotChosen,
  type Placement,
  type PlacementInput,
  type Shortage,
  type WantedInstance,
} from './model.ts';
import { DiskBudget, NodePool, type Request, type RuntimePool } from './node-pool.ts';

export interface PlaceOptions {
  /** For which instances `notChosen` is filled. Default: all. */
  readonly explain?: (wanted: WantedInstance) => boolean;
}

/**
 * Places the instances in their order: first, in a rebalance, those that must not move, then those on nodes that
 * are not overloaded, then the rest. The answer has one placement per instance, in the order of `input.instances`.
 */
export function placeInstances(input: PlacementInput, options: PlaceOptions = {}): Placement[] {
  return new Round(input, options.explain ?? (() => true)).run();
}

class Round {
  readonly #input: PlacementInput;
  readonly #explain: (wanted: WantedInstance) => boolean;
  /** By priority descending, then id: the order in which candidates are listed (step 2). */
  readonly #pools: readonly NodePool[];
  readonly #poolById: ReadonlyMap<string, NodePool>;
  readonly #disk: DiskBudget;
  readonly #placements = new Map<WantedInstance, Placement>();

  constructor(input: PlacementInput, explain: (wanted: WantedInstance) => boolean) {
    this.#input = input;
    this.#explain = explain;
    this.#pools = input.nodes
      .map((facts) => new NodePool(facts, input.mode))
      .sort((a, b) => b.facts.priority - a.facts.priority || compareText(a.facts.nodeId, b.facts.nodeId));
    this.#poolById = new Map(this.#pools.map((pool) => [pool.facts.nodeId, pool]));
    this.#disk = new DiskBudget(input.disk);
  }

  run(): Placement[] {
    const { instances, mode } = this.#input;
    if (mode === 'rebalance') {
      for (const wanted of instances) this.#keepByPolicy(wanted);
      for (const wanted of instances) {
        if (!this.#isOnOverloadedNode(wanted)) this.#placeOnce(wanted);
      }
    }
    for (const wanted of instances) this.#placeOnce(wanted);
    return instances.map((wanted) => this.#placements.get(wanted)!);
  }

  #isOnOverloadedNode({ present }: WantedInstance): boolean {
    return present === undefined || (this.#poolById.get(present.nodeId)?.needsBalancing ?? true);
  }

  /** The policy pass: an instance that may not move stays, when it still fits (spec/cm.md 4.8). */
  #keepByPolicy(wanted: WantedInstance): void {
    const { present, item } = wanted;
    if (!present?.manifestDigest || 'error' in item) return;
    const manifest = item.manifests.find(({ digest }) => digest === present.manifestDigest);
    if (!manifest) {
      this.#fail(
        wanted,
        errorInfo('notFound', 'manifest not found'),
        [],
        'its image no longer has the manifest it ran',
      );
      return;
    }
    if (!isUsable(manifest)) {
      this.#fail(wanted, manifest.error, [], 'its configuration cannot be read');
      return;
    }
    if (!manifest.staysOnNode && wanted.ident.type !== 'component') return;
    const runtime = this.#runtimeAt(present);
    if (!runtime?.node.isCandidate) return;
    const request = runtime.node.requestOf(manifest, wanted.ident.type === 'component', wanted.average);
    if (!hasRoom(runtime, request, resourcesOf(wanted, manifest))) return;
    this.#reserve(wanted, manifest, { runtime, request }, 'it stays: its item forbids moving it', []);
  }

  #placeOnce(wanted: WantedInstance): void {
    if (!this.#placements.has(wanted)) this.#place(wanted);
  }

  #place(wanted: WantedInstance): void {
    const { item } = wanted;
    if ('error' in item) {
      this.#keepUnreadable(wanted, item.error);
      return;
    }
    let failure: Refused = { error: errorInfo('notFound', ''), notChosen: [] };
    for (const manifest of item.manifests) {
      if (!isUsable(manifest)) {
        failure = { error: manifest.error, notChosen: [] };
        continue;
      }
      const refused = this.#tryManifest(wanted, manifest);
      if (!refused) return;
      failure = refused;
    }
    const { error, notChosen, shortage } = failure;
    const because = shortage ? shortageText(shortage) : error.message || 'its image has no manifest';
    this.#fail(wanted, error, notChosen, because, shortage);
  }

  /** Undefined when the instance was placed. */
  #tryManifest(wanted: WantedInstance, manifest: ManifestFacts): Refused | undefined {
    const explain = this.#explain(wanted);
    const { candidates, error, shortage: lacking, notChosen } = findCandidates(wanted, manifest, this.#pools, explain);
    if (candidates.length === 0) return { error: errorInfo('notFound', error), notChosen, shortage: lacking };
    const { best, because } = choose(wanted, candidates);
    const shortage = this.#disk.shortage(best.request);
    if (shortage !== undefined) return { error: errorInfo('noMemory', shortage), notChosen };
    const others = explain ? candidates.filter((one) => one !== best).map((one) => whyNot(one, best, wanted)) : [];
    this.#reserve(wanted, manifest, best, because, [...notChosen, ...others]);
    return undefined;
  }

  /**
   * An instance that runs is not stopped because its image cannot be read at the moment: it stays, and the
   * damaged blobs are fetched again.
   */
  #keepUnreadable(wanted: WantedInstance, error: ErrorInfo): void {
    const { present } = wanted;
    if (!present?.manifestDigest || !this.#runtimeAt(present)?.node.isCandidate) {
      this.#fail(wanted, error, [], `its image cannot be read: ${error.message || 'not found'}`);
      return;
    }
    const { nodeId, runtimeId, manifestDigest } = present;
    this.#placements.set(wanted, {
      wanted,
      place: { nodeId, runtimeId },
      manifestDigest,
      manifest: undefined,
      because: 'it stays: its image cannot be read at the moment',
      notChosen: [],
    });
  }

  #runtimeAt(place: { readonly nodeId: string; readonly runtimeId: string }): RuntimePool | undefined {
    return this.#poolById.get(place.nodeId)?.runtimes.find(({ facts }) => facts.runtimeId === place.runtimeId);
  }

  #reserve(
    wanted: WantedInstance,
    manifest: ManifestFacts,
    { runtime, request }: Candidate,
    because: string,
    notChosen: readonly NotChosen[],
  ): void {
    runtime.reserve(request, resourcesOf(wanted, manifest));
    this.#disk.take(request);
    this.#placements.set(wanted, {
      wanted,
      place: { nodeId: runtime.node.facts.nodeId, runtimeId: runtime.facts.runtimeId },
      manifestDigest: manifest.digest,
      manifest,
      because,
      notChosen,
    });
  }

  #fail(
    wanted: WantedInstance,
    error: ErrorInfo,
    notChosen: readonly NotChosen[],
    because: string,
    shortage?: Shortage,
  ): void {
    this.#placements.set(wanted, { wanted, error, because, notChosen, ...(shortage && { shortage }) });
  }
}

/** Why a manifest has no place. */
interface Refused {
  readonly error: ErrorInfo;
  readonly notChosen: readonly NotChosen[];
  readonly shortage?: Shortage | undefined;
}

function shortageText({ nodeId, resource, isTaken }: Shortage): string {
  return isTaken
    ? `all shares of the resource ${resource} on ${nodeId} are taken`
    : `no node that it may run on has the resource ${resource}`;
}

/** Resources of which one share is taken; none for components and for items without limits. */
function resourcesOf(wanted: WantedInstance, manifest: ManifestFacts): readonly string[] {
  return wanted.ident.type === 'component' || manifest.skipResourceLimits ? [] : manifest.resources;
}

function hasRoom(runtime: RuntimePool, request: Request, resources: readonly string[]): boolean {
  return (
    runtime.freeSlots > 0 &&
    (request.cpu === 0 || request.cpu <= runtime.freeCpu) &&
    (request.ram === 0 || request.ram <= runtime.freeRam) &&
    resources.every((name) => runtime.node.freeShares(name) > 0)
  );
}

/** Steps 6 to 8: highest node priority; then where it is already; then most free CPU, most free RAM, lowest id. */
function choose(wanted: WantedInstance, candidates: readonly Candidate[]): { best: Candidate; because: string } {
  const top = Math.max(...candidates.map(({ runtime }) => runtime.node.facts.priority));
  const finalists = candidates.filter(({ runtime }) => runtime.node.facts.priority === top);
  const { present } = wanted;
  const here =
    present &&
    finalists.find(
      ({ runtime }) => runtime.node.facts.nodeId === present.nodeId && runtime.facts.runtimeId === present.runtimeId,
    );
  if (here) return { best: here, because: 'it was there before' };
  const best = finalists.reduce((a, b) => (isBetter(b, a) ? b : a));
  return { best, because: whyChosen(best, candidates, finalists, wanted) };
}

function isBetter(a: Candidate, b: Candidate): boolean {
  const left = a.runtime.node;
  const right = b.runtime.node;
  if (left !== right) {
    return (
      (left.freeCpu - right.freeCpu ||
        left.freeRam - right.freeRam ||
        compareText(right.facts.nodeId, left.facts.nodeId)) > 0
    );
  }
  return compareText(a.runtime.facts.type, b.runtime.facts.type) < 0;
}

function whyChosen(
  best: Candidate,
  candidates: readonly Candidate[],
  finalists: readonly Candidate[],
  wanted: WantedInstance,
): string {
  const { node } = best.runtime;
  const moved =
    wanted.present && wanted.present.nodeId !== node.facts.nodeId ? `it moves from ${wanted.present.nodeId}: ` : '';
  const nodesOf = (list: readonly Candidate[]) => new Set(list.map(({ runtime }) => runtime.node)).size;
  if (nodesOf(candidates) === 1) return `${moved}the only node that fits`;
  if (nodesOf(finalists) === 1) return `${moved}the node has the highest priority, ${node.facts.priority}`;
  return `${moved}of the nodes that fit it has most free CPU (${node.freeCpu} DMIPS), then RAM, then the lowest id`;
}

function whyNot({ runtime }: Candidate, best: Candidate, wanted: WantedInstance): NotChosen {
  const { node } = runtime;
  const winner = best.runtime.node;
  const place = { nodeId: node.facts.nodeId, runtimeId: runtime.facts.runtimeId };
  if (node === winner)
    return { ...place, because: `runtime type ${best.runtime.facts.type} comes before ${runtime.facts.type}` };
  if (node.facts.priority < winner.facts.priority) {
    return {
      ...place,
      because: `its priority ${node.facts.priority} is below ${winner.facts.priority} of ${winner.facts.nodeId}`,
    };
  }
  if (wanted.present?.nodeId === winner.facts.nodeId)
    return { ...place, because: `nothing makes it leave ${winner.facts.nodeId}` };
  if (node.freeCpu !== winner.freeCpu) {
    return { ...place, because: `${node.freeCpu} DMIPS are free, ${winner.freeCpu} on ${winner.facts.nodeId}` };
  }
  if (node.freeRam !== winner.freeRam) {
    return { ...place, because: `${node.freeRam} bytes of RAM are free, ${winner.freeRam} on ${winner.facts.nodeId}` };
  }
  return { ...place, because: `its id comes after ${winner.facts.nodeId}` };
}

/** Plain byte order, independent of locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function errorInfo(code: keyof typeof ERROR_CODES, message: string): ErrorInfo {
  return { aosCode: ERROR_CODES[code], exitCode: 0, message: shortenMessage(message) };
}
