/** Firewall of instances as nftables transactions (spec/sm.md 7.7, spec/decisions.md T-49, T-52, C-47). Pure. */
import { AosError } from '../../core/index.ts';
import { formatPorts, parseExposedPort } from '../../oci/index.ts';
import { type FirewallState, LEAVING_MAP, REACHING_MAP } from './firewall-state.ts';
import { instanceChain } from './names.ts';

export interface FirewallRule {
  readonly dstIp: string;
  readonly dstPort: string;
  readonly proto: string;
  readonly srcIp: string;
}

/** What the firewall lets through for one instance. */
export interface InstanceFirewall {
  readonly id: string;
  /** For people who read the rules. */
  readonly name: string;
  readonly ip: string;
  /** With prefix. */
  readonly subnet: string;
  /** As the image configuration writes them. */
  readonly exposedPorts: readonly string[];
  readonly rules: readonly FirewallRule[];
}

/** A network whose instances reach the world under the address of the node. */
export interface Masquerade {
  readonly subnet: string;
  readonly bridge: string;
  /** Of IPv6, if its instances have that. */
  readonly ipv6Subnet?: string | undefined;
}

/** Subnets of all instance networks of this node: between two of them only rules of the CM lead. */
export const NETWORKS_SET = 'node_networks';
/** There when the table was made by us, and not by the base firewall of the node, which is to outlive us. */
const MADE_BY_US = 'made_by_the_service_manager';
/** Also what only crosses a bridge is asked for here, on hosts that say so (`bridge-nf-call-ip6tables`). */
const IPV6_CHAIN = 'inside_ipv6';

/** The table that the node's base firewall makes too; made by us when that has not been. */
const BASE_CHAINS: Readonly<Record<'forward' | 'postrouting', readonly string[]>> = {
  forward: [
    'add chain inet aos forward { type filter hook forward priority 0; policy drop; }',
    'add rule inet aos forward ct state invalid drop',
    'add rule inet aos forward ct state established,related accept',
  ],
  postrouting: ['add chain inet aos postrouting { type nat hook postrouting priority 100; policy accept; }'],
};

/** Rules of `forward` that lead to nobody. */
const BASE_RULES = BASE_CHAINS.forward.filter((line) => line.startsWith('add rule')).length;

const IP = /^(?:\d{1,3}\.){3}\d{1,3}$/;
const SUBNET = /^(?:\d{1,3}\.){3}\d{1,3}\/\d{1,2}$/;
/** Names of our own making and of other programs; nothing that would end a statement. */
const NAME = /^[A-Za-z0-9_.-]{1,64}$/;
/** nftables keeps no more of a comment. */
const MAX_COMMENT = 120;

function checked(text: string, form: RegExp, what: string): string {
  if (form.test(text)) return text;
  throw new AosError('invalidArgument', `${what} "${text}" cannot stand in a firewall rule`);
}

/** Text of others as nftables takes it in quotes. */
export function comment(text: string): string {
  return `comment "${text.replaceAll(/[^A-Za-z0-9_.:/ -]/g, '?').slice(0, MAX_COMMENT)}"`;
}

function port(text: string, proto: string): string {
  const range = parseExposedPort(`${text}/${proto || 'tcp'}`);
  if (range.protocol !== 'tcp' && range.protocol !== 'udp') {
    throw new AosError('invalidArgument', `firewall rules are for tcp and udp, found "${range.protocol}"`);
  }
  return `${range.protocol} dport ${formatPorts(range)}`;
}

/** The rules of an instance, in their order. Throws `invalidArgument` naming what no rule can be made of. */
function rulesOf(instance: InstanceFirewall): string[] {
  const ip = checked(instance.ip, IP, 'address');
  const subnet = instance.subnet && checked(instance.subnet, SUBNET, 'subnet');
  const exposed = instance.exposedPorts.map((text) => {
    const [number = '', proto = 'tcp'] = text.split('/');
    return `ip daddr ${ip} ${port(number, proto)} accept`;
  });
  const allowed = instance.rules.map(
    (rule) => `ip saddr ${ip} ip daddr ${checked(rule.dstIp, IP, 'address')} ${port(rule.dstPort, rule.proto)} accept`,
  );
  return [
    ...(subnet
      ? [
          `ip saddr ${subnet} ip daddr ${ip} accept comment "from its own network"`,
          `ip saddr ${ip} ip daddr ${subnet} accept comment "to its own network"`,
        ]
      : []),
    ...[...new Set(exposed)].map((rule) => `${rule} comment "exposed"`),
    ...[...new Set(allowed)].map((rule) => `${rule} comment "allowed connection"`),
    `ip daddr ${ip} drop`,
    // Without this a packet for another network of this node would pass before that network's own chain is asked.
    `ip saddr ${ip} ip daddr != @${NETWORKS_SET} accept comment "to the world"`,
    `ip saddr ${ip} drop`,
  ];
}

/** Fills the chain of an instance; it exists afterwards. Throws `invalidArgument` naming what no rule can be made of. */
export function fillChain(instance: InstanceFirewall): string[] {
  const chain = `inet aos ${instanceChain(checked(instance.id, NAME, 'instance id'))}`;
  const rules = rulesOf(instance);
  return [
    `add chain ${chain} { ${comment(instance.name)}; }`,
    `flush chain ${chain}`,
    ...rules.map((rule) => `add rule ${chain} ${rule}`),
  ];
}

export function masquerade({ subnet, bridge }: Masquerade): string {
  const from = checked(subnet, SUBNET, 'subnet');
  return `add rule inet aos postrouting ip saddr ${from} oifname != "${checked(bridge, NAME, 'bridge')}" masquerade`;
}

export interface WantedFirewall {
  readonly instances: readonly InstanceFirewall[];
  readonly networks: readonly Masquerade[];
}

/**
 * One transaction that makes the table what is wanted: what is right already stays, so that connections of running
 * instances are not touched; chains of nobody and masquerading of nothing go. `changed` are the ids whose chain is
 * filled anew although it is there; one that has more or fewer rules than it should is, too: a crash came between an
 * intent and the firewall, or somebody took rules away. Nothing of other tables is touched.
 */
export function planFirewall(state: FirewallState, wanted: WantedFirewall, changed: ReadonlySet<string>): string[] {
  const chains = new Map(wanted.instances.map((instance) => [instanceChain(instance.id), instance]));
  const orphans = [...state.chains].filter((chain) => chain.startsWith('instance_') && !chains.has(chain));
  const isWhole = (instance: InstanceFirewall) =>
    state.ruleCounts.get(instanceChain(instance.id)) === rulesOf(instance).length;
  const refilled = wanted.instances.filter((instance) => changed.has(instance.id) || !isWhole(instance));
  const kept = state.masquerades.filter(
    (found, index, all) =>
      wanted.networks.some(({ subnet, bridge }) => subnet === found.subnet && bridge === found.bridge) &&
      all.findIndex(({ subnet }) => subnet === found.subnet) === index,
  );
  return [
    ...base(state),
    ...networksSet(state, wanted.networks),
    ...insideIpv6(state, wanted.networks),
    ...refilled.flatMap(fillChain),
    ...entrances(state.leaving, LEAVING_MAP, wanted.instances),
    ...entrances(state.reaching, REACHING_MAP, wanted.instances),
    ...state.jumps.map(({ handle }) => `delete rule inet aos forward handle ${handle}`),
    ...orphans.flatMap((chain) => [`flush chain inet aos ${chain}`, `delete chain inet aos ${chain}`]),
    ...state.masquerades
      .filter((found) => !kept.includes(found))
      .map(({ handle }) => `delete rule inet aos postrouting handle ${handle}`),
    ...wanted.networks.filter(({ subnet }) => !kept.some((found) => found.subnet === subnet)).map(masquerade),
  ];
}

/**
 * Whether the table holds nothing but what we put into it, when no instance is up. The table of the node's base firewall
 * stays when we end, and so does a rule that somebody added for packets of his own (spec/sm.md 7.7.1).
 */
export function isOursAlone({ chains, ruleCounts, sets, lookups, masquerades }: FirewallState): boolean {
  const ours = ['forward', 'postrouting', IPV6_CHAIN];
  const count = (chain: string) => ruleCounts.get(chain) ?? 0;
  const ownForward = BASE_RULES + lookups.length + (chains.has(IPV6_CHAIN) ? 1 : 0);
  return (
    sets.has(MADE_BY_US) &&
    [...chains].every((chain) => ours.includes(chain)) &&
    count('forward') <= ownForward &&
    count('postrouting') <= masquerades.length
  );
}

/** What is missing of the table itself. An existing one, of the node or of another SM, is taken as it is. */
function base({ chains, sets, lookups, established }: FirewallState): string[] {
  const map = (name: string, what: string) =>
    sets.has(name) ? [] : [`add map inet aos ${name} { type ipv4_addr : verdict; ${comment(what)}; }`];
  // After the rule that lets answers through, the later one first; without it at the end.
  const place = chains.has('forward') && established !== undefined ? `handle ${established} ` : '';
  const asked = [
    `add rule inet aos forward ${place}ip saddr vmap @${LEAVING_MAP}`,
    `add rule inet aos forward ${place}ip daddr vmap @${REACHING_MAP}`,
  ];
  return [
    ...(chains.size === 0 ? ['add table inet aos'] : []),
    ...(chains.has('forward') ? [] : BASE_CHAINS.forward),
    ...(chains.has('postrouting') ? [] : BASE_CHAINS.postrouting),
    ...(chains.size === 0
      ? [`add set inet aos ${MADE_BY_US} { type ipv4_addr; ${comment('so that the table goes with its instances')}; }`]
      : []),
    ...(sets.has(NETWORKS_SET)
      ? []
      : [
          `add set inet aos ${NETWORKS_SET} { type ipv4_addr; flags interval; ${comment('networks of instances on this node')}; }`,
        ]),
    ...map(LEAVING_MAP, 'by source: the chain of the instance that sends'),
    ...map(REACHING_MAP, 'by destination: the chain of the instance that is sent to'),
    /*
     * What leaves an instance is judged before what reaches one: a service of another network on this node is reached
     * by a rule of the CM alone, in whatever order the two were started (T-49).
     */
    ...(lookups.length === 2
      ? []
      : [
          ...lookups.map((handle) => `delete rule inet aos forward handle ${handle}`),
          ...(place === '' ? asked : asked.toReversed()),
        ]),
  ];
}

function networksSet(state: FirewallState, networks: readonly Masquerade[]): string[] {
  const subnets = [...new Set(networks.map(({ subnet }) => checked(subnet, SUBNET, 'subnet')))].sort();
  const before = state.sets.get(NETWORKS_SET) ?? [];
  if (before.join() === subnets.join()) return [];
  return [
    ...(before.length > 0 ? [`flush set inet aos ${NETWORKS_SET}`] : []),
    ...(subnets.length > 0 ? [`add element inet aos ${NETWORKS_SET} { ${subnets.join(', ')} }`] : []),
  ];
}

/** Instances of one network reach each other by IPv6; there is no way into another network, or out. */
function insideIpv6({ chains, established }: FirewallState, networks: readonly Masquerade[]): string[] {
  const subnets = networks.flatMap(({ ipv6Subnet }) => ipv6Subnet ?? []);
  const isThere = chains.has(IPV6_CHAIN);
  if (!isThere && subnets.length === 0) return [];
  const place = established === undefined ? '' : `handle ${established} `;
  return [
    ...(isThere
      ? [`flush chain inet aos ${IPV6_CHAIN}`]
      : [
          `add chain inet aos ${IPV6_CHAIN} { ${comment('between instances of one network')}; }`,
          `add rule inet aos forward ${place}meta nfproto ipv6 jump ${IPV6_CHAIN}`,
        ]),
    // Of the link: nothing of it is ever routed.
    `add rule inet aos ${IPV6_CHAIN} ip6 saddr fe80::/10 accept`,
    `add rule inet aos ${IPV6_CHAIN} ip6 daddr { fe80::/10, ff02::/16 } accept`,
    ...subnets
      .toSorted()
      .map((subnet) => `add rule inet aos ${IPV6_CHAIN} ip6 saddr ${subnet} ip6 daddr ${subnet} accept`),
  ];
}

/** The elements of a map: those of nobody go, the missing ones come, each naming its instance. */
function entrances(before: ReadonlyMap<string, string>, map: string, instances: readonly InstanceFirewall[]): string[] {
  const wanted = new Map(instances.map((instance) => [instance.ip, instance]));
  const isRight = (ip: string, chain: string) => {
    const instance = wanted.get(ip);
    return instance !== undefined && instanceChain(instance.id) === chain;
  };
  const stale = [...before].filter(([ip, chain]) => !isRight(ip, chain)).map(([ip]) => ip);
  const missing = [...wanted.values()].filter(({ ip, id }) => before.get(ip) !== instanceChain(id));
  const element = ({ ip, name, id }: InstanceFirewall) => `${ip} ${comment(name)} : jump ${instanceChain(id)}`;
  return [
    ...(stale.length > 0 ? [`delete element inet aos ${map} { ${stale.join(', ')} }`] : []),
    ...(missing.length > 0 ? [`add element inet aos ${map} { ${missing.map(element).join(', ')} }`] : []),
  ];
}
