/** What the firewall of instances holds now, read from `nft -j list table inet aos`. Pure. */

/** Address to chain: which instance a packet leaves, or reaches. */
export const LEAVING_MAP = 'leaving';
export const REACHING_MAP = 'reaching';

export interface FirewallState {
  readonly chains: ReadonlySet<string>;
  /** How many rules each chain has that has any. */
  readonly ruleCounts: ReadonlyMap<string, number>;
  /** Named sets and maps; of a set of subnets what is in it, sorted. */
  readonly sets: ReadonlyMap<string, readonly string[]>;
  /** Address to chain. */
  readonly leaving: ReadonlyMap<string, string>;
  readonly reaching: ReadonlyMap<string, string>;
  /** Handles of the rules of `forward` that ask the two maps. */
  readonly lookups: readonly number[];
  /** Rules of `forward` that jump into a chain of an instance by themselves: those of another SM. */
  readonly jumps: readonly { readonly chain: string; readonly handle: number }[];
  /** Handle of the rule that lets answers through; absent: there is none. */
  readonly established?: number | undefined;
  readonly masquerades: readonly { readonly subnet: string; readonly bridge: string; readonly handle: number }[];
}

export const NO_FIREWALL: FirewallState = {
  chains: new Set(),
  ruleCounts: new Map(),
  sets: new Map(),
  leaving: new Map(),
  reaching: new Map(),
  lookups: [],
  jumps: [],
  masquerades: [],
};

interface Named {
  readonly name: string;
  readonly elem?: readonly unknown[];
}

interface Listed {
  readonly chain?: Named;
  readonly set?: Named;
  readonly map?: Named;
  readonly rule?: { readonly chain: string; readonly handle: number; readonly expr: readonly unknown[] };
}

export function readFirewall(listing: unknown): FirewallState {
  const entries = (listing as { readonly nftables: readonly Listed[] }).nftables;
  const rules = entries.flatMap(({ rule }) => rule ?? []);
  const ruleCounts = new Map<string, number>();
  for (const { chain } of rules) ruleCounts.set(chain, (ruleCounts.get(chain) ?? 0) + 1);
  const forward = rules.filter(({ chain }) => chain === 'forward');
  const maps = new Map(entries.flatMap(({ map }) => (map ? [[map.name, map] as const] : [])));
  return {
    chains: new Set(entries.flatMap(({ chain }) => chain?.name ?? [])),
    ruleCounts,
    sets: new Map<string, readonly string[]>([
      ...entries.flatMap(({ set }) => (set ? [[set.name, (set.elem ?? []).map(readSubnet).sort()] as const] : [])),
      ...[...maps.keys()].map((name) => [name, []] as const),
    ]),
    leaving: readVerdicts(maps.get(LEAVING_MAP)),
    reaching: readVerdicts(maps.get(REACHING_MAP)),
    lookups: forward.filter(({ expr }) => expr.some(asksOurMaps)).map(({ handle }) => handle),
    jumps: forward.flatMap(({ handle, expr }) => {
      const target = expr.flatMap((part) => (part as { jump?: { target: string } }).jump?.target ?? [])[0];
      return target?.startsWith('instance_') ? [{ chain: target, handle }] : [];
    }),
    established: forward.find(({ expr }) => JSON.stringify(expr).includes('"established"'))?.handle,
    masquerades: rules
      .filter(({ chain, expr }) => chain === 'postrouting' && JSON.stringify(expr).includes('masquerade'))
      .map(({ handle, expr }) => ({ handle, ...readMasquerade(expr) })),
  };
}

function asksOurMaps(part: unknown): boolean {
  const { vmap } = part as { vmap?: { data?: unknown } };
  return vmap?.data === `@${LEAVING_MAP}` || vmap?.data === `@${REACHING_MAP}`;
}

/** `172.17.0.0/16`; whatever else there may be as its JSON, which is no subnet of ours. */
function readSubnet(element: unknown): string {
  const { prefix } = element as { prefix?: { addr: string; len: number } };
  return prefix ? `${prefix.addr}/${prefix.len}` : JSON.stringify(element);
}

/** Elements with a comment are objects, those without are texts. */
function readVerdicts(map: Named | undefined): Map<string, string> {
  const pairs = (map?.elem ?? []) as readonly [string | { elem: { val: string } }, { jump?: { target: string } }][];
  return new Map(
    pairs.map(([key, verdict]) => [typeof key === 'string' ? key : key.elem.val, verdict.jump?.target ?? '']),
  );
}

interface Match {
  readonly match?: { readonly left: unknown; readonly right: unknown };
}

function readMasquerade(expr: readonly unknown[]): { subnet: string; bridge: string } {
  let subnet = '';
  let bridge = '';
  for (const { match } of expr as readonly Match[]) {
    const prefix = (match?.right as { prefix?: { addr: string; len: number } } | undefined)?.prefix;
    if (prefix) subnet = `${prefix.addr}/${prefix.len}`;
    if (JSON.stringify(match?.left ?? '').includes('oifname')) bridge = String(match?.right);
  }
  return { subnet, bridge };
}
