/** Where one manifest may run: the filters of placement, in their order (spec/cm.md 4.7, steps 3 to 5). Pure. */
import type { ManifestFacts, NotChosen, Platform, Shortage, WantedInstance } from './model.ts';
import type { NodePool, Request, RuntimePool } from './node-pool.ts';

/**
 * The filters in the order in which they are applied; the text is what the cloud sees when one leaves nothing.
 * Free slots share the text of RAM, as in 9.1.
 */
const FILTERS = [
  'no nodes with given ID',
  'no nodes with instance labels',
  'no nodes with with service resources',
  'no runtimes with requested runtime type',
  'no runtimes with requested platform',
  'no runtimes with requested CPU',
  'no runtimes with requested RAM',
  'no runtimes with requested RAM',
] as const;

const PINNED = 0;
const LABELS = 1;
const RESOURCES = 2;
const RUNTIME_TYPE = 3;
const PLATFORM = 4;
const CPU = 5;
const RAM = 6;
const SLOTS = 7;

export interface Candidate {
  readonly runtime: RuntimePool;
  readonly request: Request;
}

export interface Fit {
  readonly candidates: readonly Candidate[];
  /** The filter that left nothing, when there is no candidate. */
  readonly error: string;
  /** The resource that left nothing, when it was one. */
  readonly shortage?: Shortage | undefined;
  readonly notChosen: readonly NotChosen[];
}

/** A pool with a runtime, or a node as a whole, that a filter took out. */
type Refusal = { readonly filter: number; readonly because: () => string; readonly resource?: string };

/** Pairs of names for one architecture that count as equal (spec/decisions.md C-55). */
const SAME_ARCHITECTURE: Readonly<Record<string, string>> = {
  amd64: 'x86_64',
  arm64: 'aarch64',
  arm: 'armv7l',
  '386': 'i686',
};

function canonical(architecture: string): string {
  return SAME_ARCHITECTURE[architecture] ?? architecture;
}

/** Undefined when the runtime offers what the image asks for, else what differs. */
export function platformMismatch(wanted: Platform, offered: Platform): string | undefined {
  if (canonical(wanted.architecture) !== canonical(offered.architecture)) {
    return `its architecture is ${offered.architecture}, the image is for ${wanted.architecture}`;
  }
  const differing = (['os', 'variant', 'osVersion'] as const).find(
    (key) => wanted[key] !== undefined && wanted[key] !== offered[key],
  );
  if (differing) {
    return `its ${differing} is ${offered[differing] || 'not known'}, the image is for ${wanted[differing]}`;
  }
  const missing = wanted.osFeatures.find((feature) => !offered.osFeatures.includes(feature));
  return missing === undefined ? undefined : `it does not offer the system feature ${missing}`;
}

/** Applies the filters to all nodes; `explain` fills `notChosen`. */
export function findCandidates(
  wanted: WantedInstance,
  manifest: ManifestFacts,
  pools: readonly NodePool[],
  explain: boolean,
): Fit {
  const candidates: Candidate[] = [];
  const notChosen: NotChosen[] = [];
  // A filter empties the list exactly when the best that any node or runtime achieved was to fail there.
  let farthest = wanted.pinned ? PINNED : LABELS;
  const shortages: Shortage[] = [];
  const refuse = (refusal: Refusal, nodeId: string, runtimeId?: string) => {
    farthest = Math.max(farthest, refusal.filter);
    if (explain) notChosen.push({ nodeId, ...(runtimeId ? { runtimeId } : {}), because: refusal.because() });
  };

  for (const pool of pools) {
    const { nodeId } = pool.facts;
    if (!pool.isCandidate) {
      if (explain) notChosen.push({ nodeId, because: whyNoCandidate(pool) });
      continue;
    }
    const refusal = refuseNode(wanted, manifest, pool);
    if (refusal) {
      const { resource } = refusal;
      if (resource !== undefined) shortages.push({ nodeId, resource, isTaken: hasResource(pool, resource) });
      refuse(refusal, nodeId);
      continue;
    }
    const request = pool.requestOf(manifest, wanted.ident.type === 'component', wanted.average);
    for (const runtime of pool.runtimes) {
      const runtimeRefusal = refuseRuntime(wanted, manifest, runtime, request);
      if (runtimeRefusal) refuse(runtimeRefusal, nodeId, runtime.facts.runtimeId);
      else candidates.push({ runtime, request });
    }
    if (pool.runtimes.length === 0)
      refuse(
        refused(RUNTIME_TYPE, () => 'it has no runtimes'),
        nodeId,
      );
  }
  // One whose shares are taken says more than one that is elsewhere.
  const shortage = farthest === RESOURCES ? (shortages.find(({ isTaken }) => isTaken) ?? shortages[0]) : undefined;
  return { candidates, error: FILTERS[farthest]!, shortage, notChosen };
}

function refused(filter: number, because: () => string): Refusal {
  return { filter, because };
}

function whyNoCandidate(pool: NodePool): string {
  const { state, connected } = pool.facts;
  if (state !== 'provisioned') return `the node is ${state}`;
  return connected ? 'the node is not a candidate' : 'the node is not connected';
}

function refuseNode(wanted: WantedInstance, manifest: ManifestFacts, pool: NodePool): Refusal | undefined {
  const { pinned } = wanted;
  if (pinned && pinned.nodeId !== pool.facts.nodeId) {
    return refused(PINNED, () => `the instance belongs to node ${pinned.nodeId}`);
  }
  if (!pool.hasLabels(wanted.labels)) {
    return refused(LABELS, () => {
      const missing = wanted.labels.filter((label) => !pool.facts.labels.includes(label));
      return `the node does not have the label ${missing.join(', ')}`;
    });
  }
  if (wanted.ident.type === 'component') return undefined;
  const missing = manifest.resources.find((name) => pool.freeShares(name) <= 0);
  if (missing === undefined) return undefined;
  const because = () =>
    hasResource(pool, missing)
      ? `all shares of the resource ${missing} are taken`
      : `the node does not have the resource ${missing}`;
  return { ...refused(RESOURCES, because), resource: missing };
}

function hasResource({ facts }: NodePool, wanted: string): boolean {
  return facts.resources.some(({ name }) => name === wanted);
}

function refuseRuntime(
  wanted: WantedInstance,
  manifest: ManifestFacts,
  runtime: RuntimePool,
  request: Request,
): Refusal | undefined {
  const { facts } = runtime;
  const { pinned } = wanted;
  if (pinned ? pinned.runtimeId !== facts.runtimeId : !manifest.runtimes.includes(facts.type)) {
    return refused(RUNTIME_TYPE, () =>
      pinned
        ? `the instance belongs to runtime ${pinned.runtimeId}`
        : `its type is ${facts.type}, the item runs on ${manifest.runtimes.join(', ')}`,
    );
  }
  const mismatch = platformMismatch(manifest.platform, facts.platform);
  if (mismatch !== undefined) return refused(PLATFORM, () => mismatch);
  if (request.cpu > 0 && request.cpu > runtime.freeCpu) {
    return refused(CPU, () => `${runtime.freeCpu} DMIPS are free, ${request.cpu} are needed`);
  }
  if (request.ram > 0 && request.ram > runtime.freeRam) {
    return refused(RAM, () => `${runtime.freeRam} bytes of RAM are free, ${request.ram} are needed`);
  }
  if (runtime.freeSlots <= 0) return refused(SLOTS, () => `all its places for instances are taken`);
  return undefined;
}
