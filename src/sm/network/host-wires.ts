/** Bridges, VLANs, namespaces and links on this host, each change as one batch (spec/sm.md 7.4, 7.5, 7.9). */
import { randomBytes, randomInt } from 'node:crypto';
import { AosError, asAosError, instanceId, type Logger } from '../../core/index.ts';
import type { Link, Links } from '../../platform/ip/index.ts';
import { type NetworkNamespaces, netnsLines } from '../../platform/netns/index.ts';
import { ipv6Of } from './ipv6.ts';
import { bridgeLines, deleteLinesOf, hostLines, insidePlan, shapingLines, vlanLines } from './link-script.ts';
import { hostInterface, ifbInterface } from './names.ts';
import { type InstanceNetworkRow, linkOf, type NetworkRows, type NodeNetworkRow } from './network-rows.ts';
import { overlaps } from './subnets.ts';

export interface HostWiresOptions {
  readonly rows: NetworkRows;
  readonly namespaces: NetworkNamespaces;
  readonly links: Links;
  readonly vlan: 'auto' | 'required' | 'off';
  readonly withIpv6: boolean;
  readonly logger: Logger;
}

type Present = ReadonlyMap<string, Link>;

export class HostWires {
  readonly #options: HostWiresOptions;
  /** Networks that end at this node, each told once. */
  readonly #told = new Set<string>();

  constructor(options: HostWiresOptions) {
    this.#options = options;
  }

  /** The networks of these instances, whole; what is there stays. */
  async makeNetworks(instances: readonly InstanceNetworkRow[], signal: AbortSignal): Promise<void> {
    if (instances.length === 0) return;
    const present = await this.#present(signal);
    await this.#options.links.batch(await this.#bridges(instances, present, signal), signal);
    await this.#vlans(instances, present, signal);
  }

  /** Namespace, link, addresses, route and shaping of each instance; those that are linked already are left alone. */
  async connect(instances: readonly InstanceNetworkRow[], signal: AbortSignal): Promise<void> {
    const { links, namespaces, withIpv6 } = this.#options;
    const present = await this.#present(signal);
    const spaces = new Set(await namespaces.list());
    const missing = instances.filter(({ ident }) => {
      const id = instanceId(ident);
      return !present.has(hostInterface(id)) || !spaces.has(id);
    });
    const plans = missing.map((row) => linkOf(row, this.#network(row), withIpv6));
    const lines = [
      ...(await this.#bridges(instances, present, signal)),
      ...plans.flatMap((plan) => [...(spaces.has(plan.id) ? [] : [netnsLines(plan.id).add]), ...hostLines(plan)]),
    ];
    const inside = plans.map(insidePlan);
    const shaping = plans.flatMap(shapingLines);
    await links.batch(lines, signal, inside);
    await links.shape(shaping, signal);
    await this.#vlans(instances, present, signal);
  }

  /** Takes away what these instances have, and these networks with it; what is not there is no error. */
  async disconnect(
    ids: readonly string[],
    idle: readonly Pick<NodeNetworkRow, 'bridge' | 'vlanName'>[],
    signal: AbortSignal,
  ): Promise<void> {
    const { links, namespaces } = this.#options;
    const remains = async (linesOf: (names: readonly string[]) => readonly string[]) => {
      const [present, spaces] = [await this.#present(signal), new Set(await namespaces.list())];
      // By name and kind: what somebody else made under a name of ours is left to them.
      const here = (devices: readonly { readonly name: string; readonly kind: string }[]) =>
        devices.filter(({ name, kind }) => present.get(name)?.kind === kind).map(({ name }) => name);
      const ends = ids.flatMap((id) => {
        const name = hostInterface(id);
        return [
          { name, kind: 'veth' },
          { name: ifbInterface(name), kind: 'ifb' },
        ];
      });
      const networks = idle.flatMap(({ bridge, vlanName }) => [
        { name: vlanName, kind: 'vlan' },
        { name: bridge, kind: 'bridge' },
      ]);
      return [
        // The pair before its namespace: that takes it along, but later, and its name is needed for the next start.
        ...linesOf(here(ends)),
        ...oneByOne(here(networks)),
        ...ids.filter((id) => spaces.has(id)).map((id) => netnsLines(id).delete),
      ];
    };
    const complaint = await links.tryAll(await remains(together), signal);
    if (complaint === '') return;
    // Whatever went by itself in the meantime was complained about, too; and one that cannot go keeps its whole group.
    const left = await remains(oneByOne);
    const again = await links.tryAll(left, signal);
    if (again !== '' && (await remains(oneByOne)).length > 0) throw new AosError('runtime', `ip: ${again}`);
  }

  removeNetworks(networks: readonly NodeNetworkRow[], signal: AbortSignal): Promise<void> {
    return this.disconnect([], networks, signal);
  }

  async #present(signal: AbortSignal): Promise<Present> {
    return new Map((await this.#options.links.list(signal)).map((link) => [link.name, link]));
  }

  #network(row: InstanceNetworkRow): NodeNetworkRow {
    const network = this.#options.rows.network(row.networkId);
    if (!network) throw new AosError('notFound', `network ${row.networkId} is not known on this node`);
    return network;
  }

  #networksOf(instances: readonly InstanceNetworkRow[]): NodeNetworkRow[] {
    return [...new Set(instances.map((row) => this.#network(row)))];
  }

  async #bridges(instances: readonly InstanceNetworkRow[], present: Present, signal: AbortSignal): Promise<string[]> {
    const networks = this.#networksOf(instances);
    await this.#checkFree(
      networks.filter(({ bridge }) => !present.has(bridge)),
      signal,
    );
    return networks.flatMap((network) => {
      const { networkId, bridge, ip } = network;
      const link = present.get(bridge);
      if (link && link.kind !== 'bridge') {
        throw new AosError('alreadyExist', `${bridge} is there already and no bridge, but ${link.kind ?? 'a device'}`);
      }
      const plan = this.#options.withIpv6 ? { ...network, ipv6: ipv6Of(networkId, ip) } : network;
      return bridgeLines(plan, link !== undefined);
    });
  }

  /** A subnet that the host uses itself is left to it: its own connections matter more. */
  async #checkFree(networks: readonly NodeNetworkRow[], signal: AbortSignal): Promise<void> {
    if (networks.length === 0) return;
    const ours = new Set(this.#options.rows.networks().map(({ bridge }) => bridge));
    const foreign = (await this.#options.links.routes(signal)).filter(({ device }) => !ours.has(device));
    for (const { networkId, subnet } of networks) {
      const route = foreign.find(({ destination }) => overlaps(destination, subnet));
      if (route) {
        throw new AosError(
          'alreadyExist',
          `the CM gives network ${networkId} the subnet ${subnet}, but this host reaches ${route.destination} by ${route.device}`,
        );
      }
    }
  }

  /** Links bridges to the same network of other nodes; without that a network ends at this node. */
  async #vlans(instances: readonly InstanceNetworkRow[], present: Present, signal: AbortSignal): Promise<void> {
    const { links, vlan } = this.#options;
    if (vlan === 'off') return;
    for (const network of this.#networksOf(instances)) {
      const { networkId, vlanName } = network;
      if (present.has(vlanName) || (vlan === 'auto' && this.#told.has(networkId))) continue;
      try {
        const parent = await links.defaultInterface(signal);
        if (parent === undefined) throw new AosError('failed', 'no master interface found: there is no default route');
        await links.batch(vlanLines(network, parent, randomMac()), signal);
      } catch (error) {
        if (vlan === 'required') throw error;
        this.#told.add(networkId);
        this.#options.logger.warn({ networkId }, `the network ends at this node: ${asAosError(error).message}`);
      }
    }
  }
}

const oneByOne = (names: readonly string[]) => names.map((name) => `link delete dev ${name}`);
/** Zero is the group of everybody; one of two thousand millions is that of nobody else. */
const together = (names: readonly string[]) => deleteLinesOf(names, randomInt(1, 2 ** 31));

/** Locally administered, not multicast. */
function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = (bytes[0]! & 0xfc) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}
