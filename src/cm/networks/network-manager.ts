/** Addresses, names and connections of instances on all nodes (spec/cm.md 6). */
import { readFile } from 'node:fs/promises';
import { asAosError, type InstanceIdent, type Logger } from '../../core/index.ts';
import { checkSubnet, parseIp, parseRoutes, type Route, SUBNETS } from './addresses.ts';
import { type HostsFile, isHostName } from './hosts-file.ts';
import type { NetworkInstance, NetworkState, RulePush } from './model.ts';
import type { NetworkStore } from './network-store.ts';
import {
  type AllocateRequest,
  type Allocation,
  type Choice,
  NO_NETWORKS,
  type NodeNetwork,
  planAllocation,
  planNodeNetwork,
  planNodeRelease,
  planRelease,
  planSync,
  type RunningNetwork,
} from './plan-network.ts';

export interface NetworkManagerOptions {
  readonly store: NetworkStore;
  readonly hostsFile: HostsFile;
  /** `dnsIp`; empty: instances get no name server. */
  readonly dnsIp: string;
  /** True when the instance shall run on the node. */
  readonly isWanted: (ident: InstanceIdent, nodeId: string) => boolean;
  readonly logger: Logger;
  /** `network.pools`; each with a prefix of 16. */
  readonly subnets?: readonly string[] | undefined;
  readonly routes?: () => Promise<readonly Route[]>;
  readonly random?: () => number;
}

/** Every request is stored before it is answered. */
export class NetworkManager {
  readonly #options: NetworkManagerOptions;
  readonly #logger: Logger;
  #state: NetworkState = NO_NETWORKS;
  readonly #lastGiven = new Map<string, string>();
  #released: readonly string[] = [];
  #pushListener: (push: RulePush) => void;

  constructor(options: NetworkManagerOptions) {
    for (const subnet of options.subnets ?? []) checkSubnet(subnet);
    this.#options = options;
    this.#logger = options.logger;
    this.#pushListener = ({ nodeId }) => this.#logger.warn({ nodeId }, 'nobody takes firewall rules yet');
  }

  /** Loads what is stored and writes the names of it. */
  async start(): Promise<void> {
    this.#state = this.#options.store.load();
    for (const { networkId, ip } of [...this.#state.hosts.values(), ...this.#state.instances.values()]) {
      this.#note(networkId, ip);
    }
    await this.#writeHosts();
  }

  /** Who brings new rules to the nodes; there is one. */
  onPush(listener: (push: RulePush) => void): void {
    this.#pushListener = listener;
  }

  /** For people: what is where. */
  instances(): readonly NetworkInstance[] {
    return [...this.#state.instances.values()];
  }

  async nodeNetwork(networkId: string, nodeId: string): Promise<NodeNetwork> {
    const routes = await (this.#options.routes ?? readHostRoutes)();
    const result = planNodeNetwork(this.#state, networkId, nodeId, this.#choice(routes));
    this.#keep(result.state);
    this.#note(networkId, result.host.ip);
    return result;
  }

  /** Throws "network not found", "host not found", "host already exists" and what else hinders. */
  async allocate(request: Omit<AllocateRequest, 'dnsServers'>): Promise<Allocation> {
    const { dnsIp } = this.#options;
    const before = this.#state;
    const result = planAllocation(before, { ...request, dnsServers: dnsIp ? [dnsIp] : [] }, this.#choice([]));
    this.#keep(result.state);
    this.#note(request.networkId, result.instance.ip);
    const unknown = result.instance.hosts.filter((name) => !isHostName(name));
    if (unknown.length > 0) this.#logger.warn({ ident: request.ident, names: unknown }, 'these are no names of hosts');
    try {
      await this.#writeHosts();
    } catch (error) {
      // The SM does not get the address, so nobody may have it.
      if (this.#state === result.state) this.#keep(before);
      throw error;
    }
    this.#push(result.pushes);
    return result;
  }

  async release(ident: InstanceIdent, nodeId: string): Promise<void> {
    const state = planRelease(this.#state, ident, nodeId);
    if (state === this.#state) {
      this.#logger.warn({ ident, nodeId }, 'an instance without a network was released');
      return;
    }
    this.#keep(state);
    await this.#writeHosts();
  }

  async releaseNode(networkId: string, nodeId: string): Promise<void> {
    const before = this.#state;
    this.#keep(planNodeRelease(before, networkId, nodeId));
    const network = before.networks.get(networkId);
    if (network && !this.#state.networks.has(networkId)) {
      this.#released = [...this.#released.filter((subnet) => subnet !== network.subnet), network.subnet];
      this.#lastGiven.delete(networkId);
    }
    await this.#writeHosts();
  }

  async sync(nodeId: string, running: readonly RunningNetwork[]): Promise<void> {
    const { state, pushes, adopted } = planSync(this.#state, nodeId, running, {
      ...this.#choice([]),
      isWanted: (ident) => this.#options.isWanted(ident, nodeId),
    });
    this.#keep(state);
    for (const networkId of adopted) {
      this.#logger.warn({ nodeId, networkId }, 'a network was taken over from a node: it was not known here');
    }
    await this.#writeHosts();
    this.#push(pushes);
  }

  #choice(routes: readonly Route[]): Choice {
    return {
      subnets: this.#options.subnets ?? SUBNETS,
      routes,
      random: this.#options.random ?? Math.random,
      lastGiven: (networkId) => this.#lastGiven.get(networkId),
      released: this.#released,
    };
  }

  #keep(state: NetworkState): void {
    this.#options.store.save(this.#state, state);
    this.#state = state;
  }

  #note(networkId: string, ip: string): void {
    const last = this.#lastGiven.get(networkId);
    if (last === undefined || parseIp(ip) > parseIp(last)) this.#lastGiven.set(networkId, ip);
  }

  #writeHosts(): Promise<void> {
    return this.#options.hostsFile.update(this.#state.instances.values());
  }

  #push(pushes: readonly RulePush[]): void {
    for (const push of pushes) {
      try {
        this.#pushListener(push);
      } catch (error) {
        this.#logger.warn({ nodeId: push.nodeId, error: asAosError(error).message }, 'firewall rules were not sent');
      }
    }
  }
}

async function readHostRoutes(): Promise<readonly Route[]> {
  try {
    return parseRoutes(await readFile('/proc/net/route', 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw asAosError(error, 'cannot read the routes of the host');
  }
}
