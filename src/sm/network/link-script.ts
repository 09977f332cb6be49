/** Links, addresses and shaping as batches of `ip` and `tc` (spec/sm.md 7.4, 7.9). Pure. */
import { AosError } from '../../core/index.ts';
import type { InsidePlan } from '../../platform/ip/index.ts';
import { IPV6_PREFIX } from './ipv6.ts';
import { hostInterface, ifbInterface } from './names.ts';

const MAX_VLAN_ID = 4094;
/** The end of the pair that an instance has. */
const INSIDE_DEVICE = 'eth0';

export interface BridgePlan {
  readonly bridge: string;
  /** Address of the node in the network, and its prefix. */
  readonly ip: string;
  readonly subnet: string;
  readonly ipv6?: string | undefined;
}

export interface InstanceLink {
  readonly id: string;
  readonly bridge: string;
  /** Address of the bridge: the way out. */
  readonly gateway: string;
  readonly ip: string;
  readonly subnet: string;
  readonly ipv6?: string | undefined;
  /** kbit/s of 1000 bit; absent: not shaped. */
  readonly downloadKbit?: number | undefined;
  readonly uploadKbit?: number | undefined;
}

/** The prefix of a subnet. Throws `invalidArgument` for one without. */
export function prefixOf(subnet: string): number {
  const prefix = Number(/^[\d.]+\/(\d{1,2})$/.exec(subnet)?.[1] ?? Number.NaN);
  if (prefix >= 0 && prefix <= 32) return prefix;
  throw new AosError('invalidArgument', `subnet "${subnet}" has no prefix, expected for example 172.17.0.0/16`);
}

/** Makes the bridge, or what is missing of one that a crash left half made. */
export function bridgeLines({ bridge, ip, subnet, ipv6 }: BridgePlan, isPresent: boolean): string[] {
  return [
    ...(isPresent ? [] : [`link add name ${bridge} type bridge`]),
    `address replace ${ip}/${prefixOf(subnet)} dev ${bridge}`,
    ...(ipv6 === undefined ? [] : [`address replace ${ipv6}/${IPV6_PREFIX} dev ${bridge} nodad`]),
    `link set dev ${bridge} up`,
  ];
}

export interface VlanPlan {
  readonly bridge: string;
  readonly vlanName: string;
  readonly vlanId: number;
}

/** Links the bridge to the same network on other nodes. */
export function vlanLines({ bridge, vlanName, vlanId }: VlanPlan, parent: string, mac: string): string[] {
  return [
    `link add link ${parent} name ${vlanName} address ${mac} type vlan id ${vlanId}`,
    `link set dev ${vlanName} master ${bridge} up`,
  ];
}

/** 0 and 4095 are reserved; a CM that does not care may give them. */
export function isVlanId(id: number): boolean {
  return Number.isInteger(id) && id >= 1 && id <= MAX_VLAN_ID;
}

/** On the host: the pair, its far end in the namespace of the instance, and the device that shapes uploads. */
export function hostLines({ id, bridge, uploadKbit }: InstanceLink): string[] {
  const name = hostInterface(id);
  const ifb = ifbInterface(name);
  return [
    `link add name ${name} master ${bridge} up type veth peer name ${INSIDE_DEVICE} netns ${id}`,
    `link set dev ${name} type bridge_slave hairpin on`,
    ...(uploadKbit === undefined ? [] : [`link add name ${ifb} up type ifb`]),
  ];
}

/**
 * Deletes links. The kernel waits 10 ms and more for each link that goes alone, and as long for a whole group; so many
 * are put into a group that nobody else has, and go together.
 */
export function deleteLinesOf(names: readonly string[], group: number): string[] {
  if (names.length < 2) return names.map((name) => `link delete dev ${name}`);
  return [...names.map((name) => `link set dev ${name} group ${group}`), `link delete group ${group}`];
}

/** Inside the namespace. */
export function insidePlan({ id, ip, subnet, gateway, ipv6 }: InstanceLink): InsidePlan {
  return {
    netns: id,
    device: INSIDE_DEVICE,
    addresses: [
      { address: ip, prefix: prefixOf(subnet) },
      ...(ipv6 === undefined ? [] : [{ address: ipv6, prefix: IPV6_PREFIX }]),
    ],
    gateway,
  };
}

const BURST_BYTES = 12_800;
const LIMIT_BYTES = 51_200;
/** Rates beyond the signed 32-bit range of bytes per second are refused, as twins do. */
const MAX_BYTES_PER_SECOND = 2 ** 31 - 1;

function tbf(kbit: number): string {
  if ((kbit * 1000) / 8 > MAX_BYTES_PER_SECOND) {
    throw new AosError('invalidArgument', `a speed of ${kbit} kbit/s is beyond what can be shaped`);
  }
  return `tbf rate ${kbit}kbit burst ${BURST_BYTES} limit ${LIMIT_BYTES}`;
}

/** Shaping as lines of `tc`: what the instance downloads leaves the host's end, what it uploads enters there. */
export function shapingLines({ id, downloadKbit, uploadKbit }: InstanceLink): string[] {
  const host = hostInterface(id);
  const ifb = ifbInterface(host);
  return [
    ...(downloadKbit === undefined ? [] : [`qdisc add dev ${host} root ${tbf(downloadKbit)}`]),
    ...(uploadKbit === undefined
      ? []
      : [
          `qdisc add dev ${host} ingress`,
          // Matches every packet, as matchall does, which fewer kernels have.
          `filter add dev ${host} parent ffff: protocol all prio 1 u32 match u32 0 0 action mirred egress redirect dev ${ifb}`,
          `qdisc add dev ${ifb} root ${tbf(uploadKbit)}`,
        ]),
  ];
}
