/** Questions that the SM asks the CM beside the stream: addresses of blobs, networks (spec/sm.md 2.5). */
import { network, sm } from '../../api/contracts.ts';
import {
  asCallError,
  type Channel,
  identMessage,
  readErrorMessage,
  readIdentMessage,
  UNARY_DEADLINE_MS,
} from '../../api/index.ts';
import { AosError, type InstanceIdent } from '../../core/index.ts';
import { CM_WAIT_MS } from '../numbers.ts';

export interface FirewallRule {
  readonly dstIp: string;
  readonly dstPort: string;
  readonly proto: string;
  readonly srcIp: string;
}

/** A network of this node: its subnet, the address of the bridge, the VLAN that links it to other nodes. */
export interface NodeNetworkParameters {
  readonly subnet: string;
  readonly ip: string;
  readonly vlanId: number;
}

/** What the CM gives an instance. */
export interface InstanceNetworkParameters {
  readonly subnet: string;
  readonly ip: string;
  readonly dnsServers: readonly string[];
  readonly firewallRules: readonly FirewallRule[];
}

export interface InstanceNetworkWishes {
  readonly hosts: readonly string[];
  readonly allowedConnections: readonly string[];
  readonly exposedPorts: readonly string[];
}

export interface InstanceNetworkState {
  readonly ident: InstanceIdent;
  readonly networkId: string;
  readonly ip: string;
  readonly firewallRules: readonly FirewallRule[];
}

export interface FirewallUpdate {
  readonly ident: InstanceIdent;
  readonly firewallRules: readonly FirewallRule[];
}

export interface CmServicesOptions {
  readonly nodeId: string;
  /** The channel of the present stream; waits at most so long. */
  readonly channel: (boundMs: number, signal: AbortSignal) => Promise<Channel>;
}

export class CmServices {
  readonly #options: CmServicesOptions;

  constructor(options: CmServicesOptions) {
    this.#options = options;
  }

  /** URLs in the order of the digests. Throws `notFound` when the CM has none for a digest. */
  async blobUrls(digests: readonly string[], signal: AbortSignal): Promise<string[]> {
    const channel = await this.#options.channel(CM_WAIT_MS, signal);
    const client = channel.client(sm.SMService);
    const { urls } = await called('ask the CM for blobs', () =>
      client.getBlobsInfos({ digests: [...digests] }, { signal, timeoutMs: UNARY_DEADLINE_MS }),
    );
    const missing = digests.find((_, index) => !urls[index]);
    if (missing !== undefined) throw new AosError('notFound', `the CM has no address for blob ${missing}`);
    return urls;
  }

  async nodeNetwork(networkId: string, signal: AbortSignal): Promise<NodeNetworkParameters> {
    const { nodeId } = this.#options;
    const answer = await this.#network('ask the CM for the network', signal, (client, options) =>
      client.getNodeNetworkParams({ networkId, nodeId }, options),
    );
    return { subnet: answer.subnet, ip: answer.ip, vlanId: Number(answer.vlanId) };
  }

  async allocate(
    ident: InstanceIdent,
    networkId: string,
    wishes: InstanceNetworkWishes,
    signal: AbortSignal,
  ): Promise<InstanceNetworkParameters> {
    const { nodeId } = this.#options;
    const serviceData = {
      hosts: [...wishes.hosts],
      allowedConnections: [...wishes.allowedConnections],
      exposedPorts: [...wishes.exposedPorts],
    };
    const answer = await this.#network('ask the CM for an address', signal, (client, options) =>
      client.allocateInstanceNetwork({ instance: identMessage(ident), networkId, nodeId, serviceData }, options),
    );
    return {
      subnet: answer.subnet,
      ip: answer.ip,
      dnsServers: [...answer.dnsServers],
      firewallRules: answer.firewallRules.map(readRule),
    };
  }

  async releaseInstance(ident: InstanceIdent, signal: AbortSignal): Promise<void> {
    const { nodeId } = this.#options;
    await this.#network('release an address', signal, (client, options) =>
      client.releaseInstanceNetwork({ instance: identMessage(ident), nodeId }, options),
    );
  }

  async releaseNode(networkId: string, signal: AbortSignal): Promise<void> {
    const { nodeId } = this.#options;
    await this.#network('release a network', signal, (client, options) =>
      client.releaseNodeNetwork({ networkId, nodeId }, options),
    );
  }

  async syncNetworks(states: readonly InstanceNetworkState[], signal: AbortSignal): Promise<void> {
    const { nodeId } = this.#options;
    const instances = states.map(({ ident, networkId, ip, firewallRules }) => ({
      instance: identMessage(ident),
      networkId,
      ip,
      firewallRules: firewallRules.map((rule) => ({ ...rule })),
    }));
    await this.#network('tell the CM of the networks', signal, (client, options) =>
      client.syncNetworkState({ nodeId, instances }, options),
    );
  }

  /** Rules that other nodes' instances made possible, until the stream ends. */
  async *firewallUpdates(signal: AbortSignal): AsyncGenerator<FirewallUpdate> {
    const channel = await this.#options.channel(CM_WAIT_MS, signal);
    const stream = channel
      .client(network.NetworkService)
      .subscribeInstanceNetworkUpdates({ nodeId: this.#options.nodeId }, { signal });
    for await (const { update } of stream) {
      if (update.case !== 'pendingFirewallUpdate') continue;
      yield { ident: readIdentMessage(update.value.instance), firewallRules: update.value.firewallRules.map(readRule) };
    }
  }

  /** A failure is in the answer's `error`; zeros there mean success (T-74). */
  async #network<T extends { error?: Parameters<typeof readErrorMessage>[0] }>(
    doing: string,
    signal: AbortSignal,
    call: (client: ReturnType<typeof networkClient>, options: CallLimits) => Promise<T>,
  ): Promise<T> {
    const channel = await this.#options.channel(CM_WAIT_MS, signal);
    const answer = await called(doing, () => call(networkClient(channel), { signal, timeoutMs: UNARY_DEADLINE_MS }));
    const failure = readErrorMessage(answer.error);
    if (failure)
      throw new AosError(failure.code, `CM: ${failure.message}`, { exitCode: failure.exitCode, cause: failure });
    return answer;
  }
}

interface CallLimits {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

function networkClient(channel: Channel) {
  return channel.client(network.NetworkService);
}

async function called<T>(doing: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw asCallError(error, `cannot ${doing}`);
  }
}

function readRule({ dstIp, dstPort, proto, srcIp }: network.FirewallRule): FirewallRule {
  return { dstIp, dstPort, proto, srcIp };
}
