/**
 * Networks of instances: addresses from the CM, bridges, namespaces, links, firewall and shaping on this host
 * (spec/sm.md 7, spec/decisions.md 5.6). Each call is one batch per helper; an instance that spoils a batch fails alone.
 */
import { isDeepStrictEqual } from 'node:util';
import {
  AosError,
  allDone,
  asAosError,
  type Clock,
  type InstanceIdent,
  instanceId,
  instanceName,
  type Logger,
} from '../../core/index.ts';
import type { NameServers } from '../../platform/dnsmasq/index.ts';
import type { Link, Links } from '../../platform/ip/index.ts';
import { type NetworkNamespaces, netnsPath } from '../../platform/netns/index.ts';
import type { Nft } from '../../platform/nft/index.ts';
import type { CmServices, FirewallUpdate } from '../client/index.ts';
import type { NetworkRequest, Networks } from '../launcher/index.ts';
import type { InstanceNetwork } from '../model.ts';
import type { NodeResources } from '../resources/index.ts';
import { Allocator, isUnknownNetwork } from './allocator.ts';
import { Firewall } from './firewall.ts';
import { fillChain } from './firewall-script.ts';
import { HostNames, type NameService } from './host-names.ts';
import { HostWires } from './host-wires.ts';
import { ipv6Subnet } from './ipv6.ts';
import { TakenNames } from './name-records.ts';
import { hostInterface, isBridgeOfOurs, isInstanceId, LOCAL_HOSTS } from './names.ts';
import { firewallOf, type InstanceNetworkRow, type NetworkRows } from './network-rows.ts';
import { Traffic } from './traffic.ts';
import type { TrafficPeriod } from './traffic-count.ts';
import type { TrafficRows } from './traffic-rows.ts';

export interface NetworkManagerOptions {
  readonly rows: NetworkRows;
  readonly trafficRows: TrafficRows;
  readonly cm: Pick<
    CmServices,
    'nodeNetwork' | 'allocate' | 'releaseInstance' | 'releaseNode' | 'syncNetworks' | 'firewallUpdates'
  >;
  readonly namespaces: NetworkNamespaces;
  readonly links: Links;
  readonly nft: Nft;
  readonly nameServers: NameServers;
  /** Directory with the records of the name servers. */
  readonly namesDirectory: string;
  readonly resources: Pick<NodeResources, 'hosts'>;
  readonly vlan: 'auto' | 'required' | 'off';
  readonly names: NameService;
  /** Whether instances of one network have IPv6 addresses, too. */
  readonly withIpv6: boolean;
  readonly trafficPeriod: TrafficPeriod;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Used when the CM names no server. */
const PUBLIC_DNS = '8.8.8.8';

type Outcome = InstanceNetwork | AosError;

export class NetworkManager implements Networks {
  readonly #options: NetworkManagerOptions;
  readonly #allocator: Allocator;
  readonly #wires: HostWires;
  readonly #firewall: Firewall;
  readonly #names: HostNames;
  readonly #traffic: Traffic;

  constructor(options: NetworkManagerOptions) {
    this.#options = options;
    const { rows, cm, nft, logger, vlan, clock, withIpv6 } = options;
    this.#traffic = new Traffic(options.trafficRows, options.trafficPeriod, clock);
    this.#wires = new HostWires(options);
    this.#names = new HostNames({
      ...{ rows, servers: options.nameServers, root: options.namesDirectory, mode: options.names, withIpv6, logger },
    });
    this.#firewall = new Firewall({
      nft,
      traffic: this.#traffic,
      wanted: () => {
        const up = rows.instances().filter(({ state }) => state !== 'down');
        const used = new Set(up.map(({ networkId }) => networkId));
        return {
          instances: up.map(firewallOf),
          networks: rows
            .networks()
            .filter(({ networkId }) => used.has(networkId))
            .map((network) => (withIpv6 ? { ...network, ipv6Subnet: ipv6Subnet(network.networkId) } : network)),
        };
      },
    });
    this.#allocator = new Allocator({
      rows,
      cm,
      needsVlan: vlan !== 'off',
      rebuild: (network, signal) => this.#wires.removeNetworks([network], signal),
      logger,
    });
  }

  /** Bytes since the period began (spec/sm.md 7.8). */
  traffic(id: string | undefined): { readonly download: number; readonly upload: number } | undefined {
    return this.#traffic.bytes(id);
  }

  /** Takes over what is whole of instances that may be running; the rest of ours is removed. */
  async adopt(running: readonly NetworkRequest[], signal: AbortSignal): Promise<void> {
    const { rows, links, namespaces } = this.#options;
    const claimed = new Set(running.map(({ info }) => instanceId(info.ident)));
    const present = new Map((await links.list(signal)).map((link) => [link.name, link]));
    const spaces = new Set(await namespaces.list());
    const isWhole = ({ ident, networkId, state }: InstanceNetworkRow) => {
      const id = instanceId(ident);
      const link = present.get(hostInterface(id));
      const isLinked = link?.kind === 'veth' && link.master === rows.network(networkId)?.bridge;
      return state === 'up' && claimed.has(id) && spaces.has(id) && isLinked;
    };
    await this.#removeStrangers([...present.values()], [...spaces], signal);
    const begun = rows.instances().filter(({ state }) => state !== 'down');
    await this.#takeDown(
      begun.filter((row) => !isWhole(row)),
      signal,
    );
    await this.#wires.makeNetworks(begun.filter(isWhole), signal);
    await this.check(signal);
  }

  /**
   * What no row knows, under names that only a service manager gives: left of a database that was lost. It would keep the
   * subnets that the CM gives, and an instance that comes back would be taken for one that is linked.
   */
  async #removeStrangers(links: readonly Link[], spaces: readonly string[], signal: AbortSignal): Promise<void> {
    const { rows, logger } = this.#options;
    const instances = new Set(rows.instances().map(({ ident }) => instanceId(ident)));
    const bridges = new Set(rows.networks().map(({ bridge }) => bridge));
    const ends = new Set(links.flatMap(({ name, kind }) => (kind === 'veth' ? [name] : [])));
    // Namespaces of another service manager may be in the same directory; their links are not in our network.
    const ids = spaces.filter((name) => isInstanceId(name) && !instances.has(name) && ends.has(hostInterface(name)));
    const networks = links
      .filter(({ name, kind }) => kind === 'bridge' && isBridgeOfOurs(name) && !bridges.has(name))
      .map(({ name: bridge }) => ({
        bridge,
        vlanName: links.find(({ kind, master }) => kind === 'vlan' && master === bridge)?.name ?? '',
      }));
    if (ids.length === 0 && networks.length === 0) return;
    logger.warn({ instances: ids, bridges: networks.map(({ bridge }) => bridge) }, 'networks that nobody knows go');
    try {
      await this.#wires.disconnect(ids, networks, signal);
    } catch (error) {
      logger.warn({}, `networks that nobody knows stay: ${asAosError(error).message}; remove them with ip link delete`);
    }
  }

  /** Makes good what somebody else took away, and counts traffic. */
  async check(signal: AbortSignal): Promise<void> {
    await this.#firewall.change([], signal);
    await this.#names.serve(signal);
  }

  /** The node runs no instances for now: nothing of theirs stays in its firewall. */
  withdraw(signal: AbortSignal): Promise<void> {
    return this.#firewall.withdraw(signal);
  }

  async start(requests: readonly NetworkRequest[], signal: AbortSignal): Promise<ReadonlyMap<string, Outcome>> {
    const outcomes = new Map<string, Outcome>();
    const fail = (ident: InstanceIdent, error: unknown) => outcomes.set(instanceId(ident), asAosError(error));
    const allocated: InstanceNetworkRow[] = [];
    await this.#leaveFormerOwners(requests, signal);
    await Promise.all(
      requests.map(async (request) => {
        try {
          allocated.push(await this.#allocator.allocate(request, signal));
        } catch (error) {
          fail(request.info.ident, error);
        }
      }),
    );
    let up = this.#withFreeNames(allocated, fail);
    try {
      await this.#putUp(up, signal);
    } catch (error) {
      this.#options.logger.warn(
        { instances: up.length },
        `a batch failed, each is tried alone: ${asAosError(error).message}`,
      );
      const batch = up;
      up = [];
      for (const row of batch) {
        try {
          await this.#takeDown([row], signal);
          await this.#putUp([row], signal);
          up.push(row);
        } catch (reason) {
          fail(row.ident, reason);
          await this.#takeDown([row], signal);
        }
      }
    }
    const upIds = new Set(up.map(({ ident }) => instanceId(ident)));
    for (const request of requests) {
      const id = instanceId(request.info.ident);
      if (upIds.has(id)) outcomes.set(id, this.#seenBy(request));
    }
    return outcomes;
  }

  async stop(ids: readonly string[], signal: AbortSignal): Promise<void> {
    const wanted = new Set(ids);
    const { rows } = this.#options;
    await this.#takeDown(
      rows.instances().filter(({ ident, state }) => state !== 'down' && wanted.has(instanceId(ident))),
      signal,
    );
  }

  /** Gives the addresses back; what the CM does not take makes it fail, and is tried again later. */
  async release(idents: readonly InstanceIdent[], signal: AbortSignal): Promise<void> {
    const { rows, cm } = this.#options;
    const gone = idents.flatMap((ident) => rows.instance(ident) ?? []);
    await this.#takeDown(
      gone.filter(({ state }) => state !== 'down'),
      signal,
    );
    const outcomes = await Promise.allSettled(gone.map(({ ident }) => cm.releaseInstance(ident, signal)));
    // One that is refused keeps none of the others.
    const released = gone.filter((_, index) => outcomes[index]?.status === 'fulfilled').map(({ ident }) => ident);
    rows.forget([], released);
    this.#traffic.forget(released.map(instanceId));
    const used = new Set(rows.instances().map(({ networkId }) => networkId));
    for (const { networkId } of rows.networks().filter((network) => !used.has(network.networkId))) {
      await cm.releaseNode(networkId, signal).catch((error) => {
        // A CM that lost its database has nothing to be given back.
        if (!isUnknownNetwork(error)) throw error;
      });
      rows.forget([networkId], []);
    }
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }

  /** Rules that came to be possible later are added to those that are there (T-54). */
  async update({ ident, firewallRules }: FirewallUpdate, signal: AbortSignal): Promise<void> {
    const { rows, logger } = this.#options;
    const row = rows.instance(ident);
    if (!row) return;
    const before = row.parameters.firewallRules;
    const added = firewallRules.filter((rule) => !before.some((known) => isDeepStrictEqual(known, rule)));
    if (added.length === 0) return;
    const changed = { ...row, parameters: { ...row.parameters, firewallRules: [...before, ...added] } };
    fillChain(firewallOf(changed));
    rows.put([], [changed]);
    logger.info({ instance: instanceName(ident), rules: added.length }, 'the CM allowed more connections');
    if (row.state !== 'down') await this.#firewall.change([instanceId(ident)], signal);
  }

  /** Tells the CM which networks run; for the moment when it is there again. */
  async sync(signal: AbortSignal): Promise<void> {
    const up = this.#options.rows.instances().filter(({ state }) => state !== 'down');
    await this.#options.cm.syncNetworks(
      up.map(({ ident, networkId, parameters: { ip, firewallRules } }) => ({ ident, networkId, ip, firewallRules })),
      signal,
    );
  }

  /** Whoever has another owner now is in another network: its former address, and a network that it left last, are given back. */
  async #leaveFormerOwners(requests: readonly NetworkRequest[], signal: AbortSignal): Promise<void> {
    const { rows, logger } = this.#options;
    const moved = requests
      .filter(({ info }) => (rows.instance(info.ident)?.networkId ?? info.ownerId) !== info.ownerId)
      .map(({ info }) => info.ident);
    if (moved.length === 0) return;
    try {
      await this.release(moved, signal);
    } catch (error) {
      logger.warn({ instances: moved.map(instanceName) }, `a former address stays: ${asAosError(error).message}`);
    }
  }

  /** Leaves out, and fails, whoever has a name that another one of its network has. */
  #withFreeNames(
    allocated: readonly InstanceNetworkRow[],
    fail: (ident: InstanceIdent, error: unknown) => void,
  ): InstanceNetworkRow[] {
    const free: InstanceNetworkRow[] = [];
    const mine = new Set(allocated.map(({ ident }) => instanceId(ident)));
    const taken = new TakenNames(
      this.#options.rows.instances().filter(({ ident, state }) => state !== 'down' && !mine.has(instanceId(ident))),
    );
    for (const row of allocated) {
      try {
        taken.take(row);
        free.push(row);
      } catch (error) {
        fail(row.ident, error);
      }
    }
    return free;
  }

  /** Intent first: what is not known to be whole is taken down at the next start. */
  async #putUp(instances: readonly InstanceNetworkRow[], signal: AbortSignal): Promise<void> {
    if (instances.length === 0) return;
    const { rows } = this.#options;
    const mark = (state: 'making' | 'up') =>
      rows.put(
        [],
        instances.flatMap(({ ident }) => rows.instance(ident) ?? []).map((row) => ({ ...row, state })),
      );
    if (instances.some(({ ident }) => rows.instance(ident)?.state !== 'up')) mark('making');
    const ids = instances.map(({ ident }) => instanceId(ident));
    // Neither needs the other: rules for what is not linked yet let nothing through.
    await allDone([this.#wires.connect(instances, signal), this.#firewall.change(ids, signal)]);
    await this.#names.serve(signal);
    mark('up');
  }

  /** All steps are attempted; the first error is thrown. */
  async #takeDown(instances: readonly InstanceNetworkRow[], signal: AbortSignal): Promise<void> {
    if (instances.length === 0) return;
    const { rows } = this.#options;
    const errors: AosError[] = [];
    const attempt = async (work: () => Promise<void>) => {
      try {
        await work();
      } catch (error) {
        errors.push(asAosError(error));
      }
    };
    const ids = new Set(instances.map(({ ident }) => instanceId(ident)));
    const used = new Set(
      rows
        .instances()
        .flatMap(({ ident, state, networkId }) => (state !== 'down' && !ids.has(instanceId(ident)) ? [networkId] : [])),
    );
    await attempt(() =>
      this.#wires.disconnect(
        [...ids],
        rows.networks().filter(({ networkId }) => !used.has(networkId)),
        signal,
      ),
    );
    // Only what is gone from the host may be forgotten: else its address would be given to another one.
    if (errors.length === 0) {
      rows.put(
        [],
        instances.flatMap(({ ident }) => rows.instance(ident) ?? []).map((row) => ({ ...row, state: 'down' as const })),
      );
    }
    await attempt(() => this.#firewall.change([], signal));
    await attempt(() => this.#names.serve(signal));
    if (errors[0]) throw errors[0];
  }

  #seenBy({ info, item }: NetworkRequest): Outcome {
    const { rows, resources } = this.#options;
    const row = rows.instance(info.ident);
    const network = row && rows.network(row.networkId);
    if (!row || !network) return new AosError('notFound', 'instance network info not found');
    const { ip, dnsServers } = row.parameters;
    const names = [row.networkId, ...(row.wishes.hostname ? [row.wishes.hostname] : [])];
    const own = this.#names.serverOf(network);
    try {
      return {
        netnsPath: netnsPath(instanceId(info.ident)),
        hosts: [
          ...LOCAL_HOSTS,
          ...names.map((name) => ({ ip, name })),
          ...resources.hosts((item.itemConfig?.resources ?? []).map(({ name }) => name)),
        ],
        dnsServers: [
          ...new Set([...(own === undefined ? [] : [own]), ...(dnsServers.length > 0 ? dnsServers : [PUBLIC_DNS])]),
        ],
        hostname: row.wishes.hostname,
      };
    } catch (error) {
      return asAosError(error);
    }
  }
}
