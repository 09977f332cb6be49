/** Counting of traffic as nftables transactions, in a table of its own (spec/sm.md 7.8). Pure. */
import { comment } from './firewall-script.ts';
import { trafficChains } from './names.ts';

export const TRAFFIC_TABLE = 'aos-traffic';
export const SYSTEM_CHAINS = { in: 'in_system', out: 'out_system' } as const;

export type Direction = 'in' | 'out';

/** Peers whose traffic does not count: they are no public ones. */
const NOT_COUNTED = ['127.0.0.0/8', '10.0.0.0/8', '192.168.0.0/16', '172.16.0.0/12'];

const TABLE = `inet ${TRAFFIC_TABLE}`;

/** One direction of an instance, or of the node. */
export interface TrafficChain {
  readonly chain: string;
  readonly direction: Direction;
  readonly isBlocked: boolean;
}

export interface CountedInstance {
  readonly id: string;
  /** For people who read the rules. */
  readonly name: string;
  readonly ip: string;
  readonly isBlocked: Readonly<Record<Direction, boolean>>;
}

/** The table from nothing; the node's own traffic is counted at once. One that is there is replaced. */
export function newTable(): string[] {
  const hook = (name: string) => `add chain ${TABLE} ${name} { type filter hook ${name} priority 0; policy accept; }`;
  return [
    `add table ${TABLE}`,
    `delete table ${TABLE}`,
    `add table ${TABLE}`,
    `add set ${TABLE} not_counted { type ipv4_addr; flags interval; ${comment('peers that are no public ones')}; }`,
    `add element ${TABLE} not_counted { ${NOT_COUNTED.join(', ')} }`,
    `add map ${TABLE} sent { type ipv4_addr : verdict; ${comment('by source: who sends')}; }`,
    `add map ${TABLE} received { type ipv4_addr : verdict; ${comment('by destination: who receives')}; }`,
    ...['input', 'output', 'forward'].map(hook),
    ...(['in', 'out'] as const).flatMap((direction) => {
      const chain = SYSTEM_CHAINS[direction];
      return [
        `add counter ${TABLE} ${chain}`,
        `add chain ${TABLE} ${chain}`,
        ...fillCounting({ chain, direction, isBlocked: false }),
      ];
    }),
    `add rule ${TABLE} input jump ${SYSTEM_CHAINS.in}`,
    `add rule ${TABLE} output jump ${SYSTEM_CHAINS.out}`,
    `add rule ${TABLE} forward ip saddr vmap @sent`,
    `add rule ${TABLE} forward ip daddr vmap @received`,
  ];
}

/** What a chain does with its packets: counts those of public peers, or drops all. */
export function fillCounting({ chain, direction, isBlocked }: TrafficChain): string[] {
  const peer = direction === 'in' ? 'saddr' : 'daddr';
  const rules = isBlocked
    ? ['drop comment "over its limit until the next period"']
    : [`ip ${peer} @not_counted return`, `counter name ${chain} return`];
  return [`flush chain ${TABLE} ${chain}`, ...rules.map((rule) => `add rule ${TABLE} ${chain} ${rule}`)];
}

export function addCounting({ id, name, ip, isBlocked }: CountedInstance): string[] {
  const chains = trafficChains(id);
  return (['in', 'out'] as const).flatMap((direction) => {
    const chain = chains[direction];
    return [
      `add counter ${TABLE} ${chain}`,
      `add chain ${TABLE} ${chain} { ${comment(name)}; }`,
      ...fillCounting({ chain, direction, isBlocked: isBlocked[direction] }),
      `add element ${TABLE} ${mapOf(direction)} { ${ip} ${comment(name)} : jump ${chain} }`,
    ];
  });
}

/** `ip` is the address that it was counted under. */
export function removeCounting({ id, ip }: Pick<CountedInstance, 'id' | 'ip'>): string[] {
  const chains = trafficChains(id);
  return (['in', 'out'] as const).flatMap((direction) => {
    const chain = chains[direction];
    return [
      `delete element ${TABLE} ${mapOf(direction)} { ${ip} }`,
      `flush chain ${TABLE} ${chain}`,
      `delete chain ${TABLE} ${chain}`,
      `delete counter ${TABLE} ${chain}`,
    ];
  });
}

function mapOf(direction: Direction): string {
  return direction === 'in' ? 'received' : 'sent';
}

interface Listed {
  readonly counter?: { readonly name: string; readonly bytes: number };
  readonly map?: { readonly name: string; readonly elem?: readonly unknown[] };
  readonly rule?: { readonly chain: string; readonly expr: readonly object[] };
}

export interface TrafficTable {
  /** Bytes by chain. */
  readonly counters: ReadonlyMap<string, number>;
  /** Address by chain. */
  readonly addresses: ReadonlyMap<string, string>;
  /** Chains that let nothing pass. */
  readonly blocked: ReadonlySet<string>;
}

/** Reads `nft -j list table inet aos-traffic`. Undefined: it is not as we make it, and has to be made anew. */
export function readTraffic(listing: unknown): TrafficTable | undefined {
  const entries = (listing as { readonly nftables: readonly Listed[] }).nftables;
  const counters = new Map(entries.flatMap(({ counter }) => (counter ? [[counter.name, counter.bytes] as const] : [])));
  const maps = entries.flatMap(({ map }) => map ?? []);
  const isWhole = ['sent', 'received'].every((name) => maps.some((map) => map.name === name));
  if (!isWhole || !counters.has(SYSTEM_CHAINS.in) || !counters.has(SYSTEM_CHAINS.out)) return undefined;
  const elements = maps.flatMap(({ elem }) => elem ?? []) as readonly [
    string | { elem: { val: string } },
    { jump?: { target: string } },
  ][];
  return {
    counters,
    blocked: new Set(entries.flatMap(({ rule }) => (rule?.expr.some((part) => 'drop' in part) ? [rule.chain] : []))),
    addresses: new Map(
      elements.flatMap(([key, { jump }]) =>
        jump ? [[jump.target, typeof key === 'string' ? key : key.elem.val] as const] : [],
      ),
    ),
  };
}
