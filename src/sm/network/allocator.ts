/** Addresses of networks and instances, asked of the CM once and kept (spec/sm.md 7.3, spec/decisions.md 7.2). */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { AosError, type InstanceIdent, isAosError, type Logger } from '../../core/index.ts';
import { Batcher } from '../batcher.ts';
import type { CmServices, NodeNetworkParameters } from '../client/index.ts';
import type { NetworkRequest } from '../launcher/index.ts';
import { fillChain } from './firewall-script.ts';
import { bridgeLines, insidePlan, isVlanId, shapingLines } from './link-script.ts';
import { instanceHosts } from './names.ts';
import {
  firewallOf,
  type InstanceNetworkRow,
  linkOf,
  type NetworkRows,
  type NodeNetworkRow,
  wishesOf,
} from './network-rows.ts';
import { overlaps } from './subnets.ts';

export interface AllocatorOptions {
  readonly rows: NetworkRows;
  readonly cm: Pick<CmServices, 'nodeNetwork' | 'allocate' | 'releaseInstance' | 'releaseNode'>;
  /** Without VLANs nobody needs an id. */
  readonly needsVlan: boolean;
  /** Takes away what is on the host of a network that has other addresses now; nothing of it is in use. */
  readonly rebuild: (network: NodeNetworkRow, signal: AbortSignal) => Promise<void>;
  readonly logger: Logger;
}

export class Allocator {
  readonly #options: AllocatorOptions;
  readonly #asking = new Map<string, Promise<void>>();
  /** Those that the CM answers in one moment are one durable transaction. */
  readonly #written: Batcher<InstanceNetworkRow, InstanceNetworkRow>;

  constructor(options: AllocatorOptions) {
    this.#options = options;
    this.#written = new Batcher(async (rows) => {
      options.rows.put([], rows);
      return rows;
    });
  }

  /** The row of an instance, with an address of the CM; what is stored is used when nothing else is wanted. */
  async allocate({ info, item }: NetworkRequest, signal: AbortSignal): Promise<InstanceNetworkRow> {
    const { rows, cm } = this.#options;
    const { ident, ownerId: networkId } = info;
    const wishes = wishesOf(item);
    await this.#nodeNetwork(networkId, signal);
    const known = rows.instance(ident);
    if (known && known.networkId === networkId && isDeepStrictEqual(known.wishes, wishes)) return known;
    const { hostname, exposedPorts, allowedConnections } = wishes;
    const hosts = instanceHosts(ident, hostname, networkId);
    const ask = () => cm.allocate(ident, networkId, { hosts, exposedPorts, allowedConnections }, signal);
    const parameters = await ask().catch(async (error) => {
      // A CM that lost its database knows neither network nor hosts until it is asked for the network.
      if (!isUnknownNetwork(error)) throw error;
      await this.#learnAgain(networkId, error, signal);
      return ask();
    });
    const row: InstanceNetworkRow = { ident, networkId, wishes, parameters, state: known?.state ?? 'down' };
    try {
      // Whatever no rule or link can be made of is found before anything is done.
      fillChain(firewallOf(row));
      const network = this.#known(networkId);
      const link = linkOf(row, network, false);
      insidePlan(link);
      shapingLines(link);
      if (!overlaps(parameters.subnet, network.subnet)) {
        throw new AosError(
          'invalidArgument',
          `the CM gives ${parameters.ip} of ${parameters.subnet} in a network that is ${network.subnet}`,
        );
      }
    } catch (error) {
      await this.#giveBack(ident, signal);
      throw error;
    }
    return this.#written.run(row);
  }

  #known(networkId: string): NodeNetworkRow {
    const network = this.#options.rows.network(networkId);
    if (!network) throw new AosError('notFound', `network ${networkId} is not known on this node`);
    return network;
  }

  /** Nobody uses the address; a CM that does not hear of it finds out when it compares (spec/sm.md 7.3 step 4). */
  async #giveBack(ident: InstanceIdent, signal: AbortSignal): Promise<void> {
    const { cm, rows, logger } = this.#options;
    try {
      await cm.releaseInstance(ident, signal);
    } catch (error) {
      logger.warn({ error: (error as Error).message }, 'an address that cannot be used was not given back');
    }
    rows.forget([], [ident]);
  }

  /** Asks for a network that the CM has forgotten. Other addresses are taken only when nothing runs in the old ones. */
  async #learnAgain(networkId: string, because: unknown, signal: AbortSignal): Promise<void> {
    const { rows, rebuild, logger } = this.#options;
    const known = this.#known(networkId);
    const answer = await this.#ask(networkId, signal);
    if (known.ip === answer.ip && known.subnet === answer.subnet && known.vlanId === answer.vlanId) return;
    const members = rows.instances().filter((row) => row.networkId === networkId);
    if (members.some(({ state }) => state !== 'down')) throw because;
    logger.warn({ networkId, from: known.subnet, to: answer.subnet }, 'the CM gives the network other addresses');
    await rebuild(known, signal);
    const changed = this.#checked({ ...known, ...answer });
    rows.forget(
      [],
      members.map(({ ident }) => ident),
    );
    rows.put([changed], []);
  }

  /** Instances that come at the same time ask once. */
  #nodeNetwork(networkId: string, signal: AbortSignal): Promise<void> {
    if (this.#options.rows.network(networkId)) return Promise.resolve();
    const asking = this.#asking.get(networkId) ?? this.#learn(networkId, signal);
    this.#asking.set(networkId, asking);
    return asking.finally(() => this.#asking.delete(networkId));
  }

  async #learn(networkId: string, signal: AbortSignal): Promise<void> {
    const parameters = await this.#ask(networkId, signal);
    const name = randomBytes(4).toString('hex');
    const row = { networkId, ...parameters, vlanName: `vlan-${name}`, bridge: `br-${name}` };
    this.#options.rows.put([this.#checked(row)], []);
  }

  /** Ids that no VLAN can have are given back once: another CM draws them without care (spec/decisions.md 7.2). */
  async #ask(networkId: string, signal: AbortSignal): Promise<NodeNetworkParameters> {
    const { cm, needsVlan } = this.#options;
    const first = await cm.nodeNetwork(networkId, signal);
    if (!needsVlan || isVlanId(first.vlanId)) return first;
    await cm.releaseNode(networkId, signal);
    const second = await cm.nodeNetwork(networkId, signal);
    if (isVlanId(second.vlanId)) return second;
    await cm.releaseNode(networkId, signal);
    throw new AosError(
      'outOfRange',
      `the CM gives network ${networkId} the VLAN id ${second.vlanId}, expected 1 to 4094`,
    );
  }

  #checked(row: NodeNetworkRow): NodeNetworkRow {
    bridgeLines(row, false);
    for (const other of this.#options.rows.networks()) {
      if (other.networkId !== row.networkId && overlaps(other.subnet, row.subnet)) {
        throw new AosError(
          'invalidArgument',
          `the CM gives network ${row.networkId} the subnet ${row.subnet}, which overlaps ${other.subnet} of ${other.networkId}`,
        );
      }
    }
    return row;
  }
}

/** As the CM of 9.1 says it, with the code of any failure, and as ours does. */
export function isUnknownNetwork(error: unknown): boolean {
  return (
    isAosError(error, 'notFound') ||
    (error instanceof AosError && /network not found|host not found/.test(error.message))
  );
}
