/**
 * Of what the root of a container is made (spec/decisions.md 4.1, 4.2). Pure: paths and facts in, mounts out.
 *
 * The root is a stack of read-only directories: generated files and mount points, the layers, and, unless the item says
 * that its image is complete, a skeleton of the node. The node's own directories are mounted one by one into it, each
 * below what the layers have at its place, so that nothing else of the node is ever seen.
 */
import { join, posix } from 'node:path';
import { fitsOverlay, type HostMount, overlayMount, overlayOptions, readOnlyBind } from '../../platform/mount/index.ts';
import type { OciMount } from '../model.ts';

/** What the host has at a path that containers may see. */
export interface HostEntry {
  /** Relative to `/`, such as `usr` or `etc/alternatives`. */
  readonly path: string;
  readonly kind: 'directory' | 'file';
  /** Where it is on the host. */
  readonly source: string;
}

/** What a layer has at such a path: `hides` means that nothing from below may be seen. */
export type LayerView = 'absent' | 'directory' | 'opaque' | 'hides';

export interface LayerFacts {
  readonly directory: string;
  /** Nothing that lies below this layer is seen. */
  readonly hidesAll: boolean;
  /** By path of a `HostEntry`; absent: `absent`. */
  readonly views: Readonly<Record<string, LayerView>>;
  /** What its white-outs need at the bottom; `below`: paths of those `HostEntry` that it has directories for. */
  readonly floor?: { readonly directory: string; readonly below: readonly string[] } | undefined;
}

export interface RootFacts {
  /** Of the item, the topmost first. */
  readonly layers: readonly LayerFacts[];
  /** Absent: the image is complete and nothing of the node lies underneath. */
  readonly nodeBase?: { readonly skeleton: string; readonly entries: readonly HostEntry[] } | undefined;
  /** Generated files and mount points, and what of it lies below a `HostEntry`. */
  readonly generated: { readonly directory: string; readonly below: readonly string[] };
  /** Where the root will be on the host. */
  readonly target: string;
  /** A directory for short links to layers; used when their paths do not fit. */
  readonly linkDirectory: string;
}

export interface RootPlan {
  /** The mount that makes the root on the host. */
  readonly root: HostMount;
  /** Mounts in the container, before all others. */
  readonly mounts: readonly OciMount[];
  /** Links to be made first: name to target. */
  readonly links: ReadonlyMap<string, string>;
}

/** Throws `invalidArgument` or `outOfRange` when the kernel would not take the paths. */
export function composeRoot(facts: RootFacts): RootPlan {
  const layers = visibleLayers(facts.layers);
  const isCut = layers.at(-1)?.hidesAll ?? false;
  const base = isCut ? undefined : facts.nodeBase;
  const stack = [
    facts.generated.directory,
    ...layers.map(({ directory }) => directory),
    // A skeleton below a layer that hides it would be seen by nobody.
    ...(base ? [base.skeleton] : []),
    ...layers.flatMap(({ floor }) => floor?.directory ?? []),
  ];
  const paths = new PathShortener(facts.linkDirectory, stack);
  const lower = stack.map((path) => paths.short(path));
  const [only] = lower;
  const root =
    lower.length === 1 && only !== undefined ? readOnlyBind(facts.target, only) : overlayMount(facts.target, lower);
  const mounts = (base?.entries ?? []).flatMap((entry) => nodeMount(entry, layers, facts, paths) ?? []);
  return { root, mounts, links: paths.links };
}

/** Down to the first layer that hides everything. */
function visibleLayers(layers: readonly LayerFacts[]): readonly LayerFacts[] {
  const last = layers.findIndex(({ hidesAll }) => hidesAll);
  return last < 0 ? layers : layers.slice(0, last + 1);
}

/** How a directory or file of the node gets into the container; undefined: a layer hides it. */
function nodeMount(
  entry: HostEntry,
  layers: readonly LayerFacts[],
  facts: RootFacts,
  paths: PathShortener,
): OciMount | undefined {
  const { source } = entry;
  const destination = `/${entry.path}`;
  const above: string[] = [];
  for (const { directory, views } of layers) {
    const view = views[entry.path] ?? 'absent';
    if (view === 'absent') continue;
    if (view !== 'directory' || entry.kind === 'file') return undefined;
    above.push(join(paths.short(directory), entry.path));
  }
  const generated = facts.generated.below.includes(entry.path) ? [join(facts.generated.directory, entry.path)] : [];
  const floors = layers.flatMap(({ floor }) =>
    floor?.below.includes(entry.path) ? [join(paths.short(floor.directory), entry.path)] : [],
  );
  if (entry.kind === 'file' || (above.length === 0 && generated.length === 0)) {
    return { destination, type: 'bind', source, options: ['bind', 'ro', 'nosuid', 'nodev'] };
  }
  return {
    destination,
    type: 'overlay',
    source: 'overlay',
    options: overlayOptions([...generated, ...above, source, ...floors]),
  };
}

/** Short names for layers, used only when the long ones do not fit into the options of a mount. */
class PathShortener {
  readonly links = new Map<string, string>();
  readonly #names = new Map<string, string>();

  constructor(linkDirectory: string, paths: readonly string[]) {
    // The mounts of node directories add their names to each path.
    if (fitsOverlay(paths.map((path) => `${path}${' '.repeat(ROOM_FOR_NAMES)}`))) return;
    for (const [index, path] of paths.entries()) {
      const link = join(linkDirectory, index.toString(36));
      this.#names.set(path, link);
      this.links.set(link, path);
    }
  }

  short(path: string): string {
    return this.#names.get(path) ?? path;
  }
}

const ROOM_FOR_NAMES = 8;

/** A place in the container where something will be mounted. */
export interface MountPoint {
  /** Relative to the root of the container. */
  readonly path: string;
  readonly kind: 'directory' | 'file';
  readonly mode: number;
}

/** What lies at the source of a bind mount. */
export type SourceKind = 'directory' | 'file' | 'absent';

/**
 * The mount points that mounts need (spec/sm.md 5.4), parents first. Those below another of the mounts are not needed:
 * they are made there, or exist there.
 */
export function mountPoints(mounts: readonly OciMount[], kindOf: (source: string) => SourceKind): MountPoint[] {
  const covered = mounts
    .filter(({ type }) => ['proc', 'tmpfs', 'sysfs'].includes(type))
    .map(({ destination }) => relative(destination));
  const points = new Map<string, MountPoint>();
  for (const mount of mounts) {
    const path = relative(mount.destination);
    if (path === '' || covered.some((parent) => path.startsWith(`${parent}/`))) continue;
    const kind = pointKind(mount, kindOf);
    if (kind) points.set(path, { path, kind, mode: modeOf(mount) ?? (kind === 'directory' ? 0o755 : 0o644) });
  }
  return [...points.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

function pointKind(mount: OciMount, kindOf: (source: string) => SourceKind): MountPoint['kind'] | undefined {
  if (['proc', 'tmpfs', 'sysfs'].includes(mount.type)) return 'directory';
  if (mount.type !== 'bind') return undefined;
  const kind = kindOf(mount.source);
  return kind === 'absent' ? undefined : kind;
}

function modeOf({ options }: OciMount): number | undefined {
  const text = options.find((option) => /^mode=[0-7]{1,4}$/.test(option))?.slice('mode='.length);
  return text === undefined ? undefined : Number.parseInt(text, 8);
}

/** Never leads out of the root: leading `..` are dropped as `/..` is `/`. */
function relative(destination: string): string {
  return posix.join('/', destination).replace(/^\/+|\/+$/g, '');
}
