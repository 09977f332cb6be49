/** Root file systems of containers on the host (spec/sm.md 5.4, 5.9, spec/decisions.md 4.2). */
import { existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type AosError, asAosError, canceledBy, faultPoint, throwIfCanceled } from '../../core/index.ts';
import { HostMounts, type Mounts } from '../../platform/mount/index.ts';
import { Batcher } from '../batcher.ts';
import type { InstalledItem, OciMount } from '../model.ts';
import {
  composeRoot,
  type HostEntry,
  type LayerFacts,
  type MountPoint,
  mountPoints,
  type RootPlan,
  type SourceKind,
} from './compose-root.ts';
import { ensureSkeleton, hostEntries, parseHostBinds, readHostFacts } from './host-entries.ts';
import { readLayerFacts } from './layer-facts.ts';
import { networkFiles, type RootNetwork } from './network-files.ts';

export interface RootRequest {
  readonly id: string;
  /** Exists. `rootfs`, `mounts` and `l` in it belong to this room. */
  readonly bundleDir: string;
  readonly item: Pick<InstalledItem, 'layers' | 'itemConfig'>;
  /** What will be mounted in the container besides the root: each needs a mount point. */
  readonly mounts: readonly OciMount[];
  readonly network: RootNetwork;
}

export interface PreparedRoot {
  /** Where the root is on the host. */
  readonly path: string;
  /** Mounts of parts of the root; they come before all others. */
  readonly mounts: readonly OciMount[];
}

export interface RootsOptions {
  /** Holds the skeleton of the node. */
  readonly workingDir: string;
  /** Directories of the node that services see; empty: the usual ones. */
  readonly hostBinds: readonly string[];
  readonly allowUnsafeHostBinds?: boolean;
  readonly mounts?: Mounts;
  /** For tests: what stands for `/` when looking at the host. */
  readonly hostRoot?: string;
}

/** Layers of which it is remembered what they have in place of the node's directories. */
const MAX_KNOWN_LAYERS = 512;

interface NodeBase {
  readonly skeleton: string;
  readonly entries: readonly HostEntry[];
}

/**
 * Makes and removes roots. Any number of calls at the same time share the calls of the mount helper: while one runs,
 * the next batch gathers.
 */
export class ContainerRoots {
  readonly #mounts: Mounts;
  readonly #nodeBase: NodeBase;
  readonly #facts = new Map<string, Promise<LayerFacts>>();
  readonly #mountBatch: Batcher<RootPlan, AosError | undefined>;
  readonly #unmountBatch: Batcher<string, AosError | undefined>;

  private constructor(mounts: Mounts, nodeBase: NodeBase) {
    this.#mounts = mounts;
    this.#nodeBase = nodeBase;
    // One caller that gives up must not end the work of the others; the helper's own time is bounded.
    const unending = new AbortController().signal;
    this.#mountBatch = new Batcher((plans) =>
      this.#mounts.mountAll(
        plans.map(({ root }) => root),
        unending,
      ),
    );
    this.#unmountBatch = new Batcher((targets) => this.#mounts.unmountAll(targets, unending));
  }

  /** Throws `invalidArgument` for host binds that are refused. */
  static async open(options: RootsOptions): Promise<ContainerRoots> {
    const { workingDir, hostBinds, allowUnsafeHostBinds = false, hostRoot = '/' } = options;
    const facts = await readHostFacts(parseHostBinds(hostBinds, allowUnsafeHostBinds), hostRoot);
    const skeleton = await ensureSkeleton(facts, join(workingDir, 'rootbase'));
    return new ContainerRoots(options.mounts ?? new HostMounts(), { skeleton, entries: hostEntries(facts, hostRoot) });
  }

  /** Makes the root at `<bundleDir>/rootfs`; what a former attempt left there is removed first. */
  async prepare(request: RootRequest, signal: AbortSignal): Promise<PreparedRoot> {
    const { id, bundleDir, item } = request;
    try {
      throwIfCanceled(signal);
      await this.remove(id, bundleDir, signal);
      const path = join(bundleDir, 'rootfs');
      const generated = join(bundleDir, 'mounts');
      mkdirSync(path);
      const points = mountPoints(request.mounts, sourceKind);
      writeGenerated(generated, points, request.network);
      faultPoint('sm.rootfs.generated');
      const hasNodeBase = item.itemConfig?.baseLayerIsNodeRootfs ?? true;
      const entries = hasNodeBase ? this.#nodeBase.entries : [];
      const layers = await Promise.all(item.layers.map((layer) => this.#layerFacts(layer, hasNodeBase)));
      const plan = composeRoot({
        layers,
        ...(hasNodeBase && { nodeBase: this.#nodeBase }),
        generated: { directory: generated, below: entriesAbove(entries, points) },
        target: path,
        linkDirectory: join(bundleDir, 'l'),
      });
      makeLinks(plan.links);
      const error = await this.#mountBatch.run(plan);
      if (error) throw error;
      if (signal.aborted) throw canceledBy(signal);
      return { path, mounts: plan.mounts };
    } catch (error) {
      throw asAosError(error, `cannot make the root of instance ${id}`);
    }
  }

  /** A layer never changes while it is there, so it is looked at once. */
  #layerFacts(layer: string, hasNodeBase: boolean): Promise<LayerFacts> {
    const key = `${hasNodeBase} ${layer}`;
    const known = this.#facts.get(key);
    if (known) return known;
    const facts = readLayerFacts(layer, hasNodeBase ? this.#nodeBase.entries : []);
    facts.catch(() => this.#facts.delete(key));
    this.#facts.set(key, facts);
    const [oldest] = this.#facts.keys();
    if (this.#facts.size > MAX_KNOWN_LAYERS && oldest !== undefined) this.#facts.delete(oldest);
    return facts;
  }

  /** Unmounts and removes what `prepare` made; what is not there is no error. */
  async remove(id: string, bundleDir: string, _signal: AbortSignal): Promise<void> {
    const path = join(bundleDir, 'rootfs');
    try {
      if (!existsSync(path) && !existsSync(join(bundleDir, 'mounts'))) return;
      const error = await this.#unmountBatch.run(path);
      if (error) throw error;
      faultPoint('sm.rootfs.unmounted');
      // Never with its content: if it were still mounted, that would be the content of layers.
      await removeEmpty(path);
      await rm(join(bundleDir, 'mounts'), { recursive: true, force: true });
      await rm(join(bundleDir, 'l'), { recursive: true, force: true });
    } catch (error) {
      throw asAosError(error, `cannot remove the root of instance ${id}`);
    }
  }
}

async function removeEmpty(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    if (asAosError(error).code !== 'notFound') throw error;
  }
}

/** The entries of the node in whose directories a mount point must be made. */
function entriesAbove(entries: readonly HostEntry[], points: readonly MountPoint[]): string[] {
  return entries
    .filter(({ path, kind }) => kind === 'directory' && points.some((point) => point.path.startsWith(`${path}/`)))
    .map(({ path }) => path);
}

/**
 * The calls on a bundle do not wait for a disk, as it is in memory; so they are made without leaving this turn, which
 * takes a tenth of the time when a hundred instances start.
 */
function sourceKind(source: string): SourceKind {
  const found = statSync(source, { throwIfNoEntry: false });
  if (!found) return 'absent';
  return found.isDirectory() ? 'directory' : 'file';
}

/** Mount points and network files, complete before anything is mounted (spec/sm.md T-34). */
function writeGenerated(directory: string, points: readonly MountPoint[], network: RootNetwork): void {
  mkdirSync(join(directory, 'etc'), { recursive: true, mode: 0o755 });
  for (const { path, kind, mode } of points) {
    const full = join(directory, path);
    mkdirSync(dirname(full), { recursive: true, mode: 0o755 });
    if (kind === 'directory') mkdirSync(full, { recursive: true, mode });
    else writeFileSync(full, '', { mode });
  }
  for (const [name, content] of Object.entries(networkFiles(network))) {
    writeFileSync(join(directory, 'etc', name), content, { mode: 0o644 });
  }
}

function makeLinks(links: ReadonlyMap<string, string>): void {
  for (const [link, target] of links) {
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(target, link);
  }
}
