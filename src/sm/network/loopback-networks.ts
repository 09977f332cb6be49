/** Instances that reach nothing but themselves: a network namespace each, with its loopback interface up. */
import { type AosError, asAosError, type InstanceIdent, instanceId } from '../../core/index.ts';
import { type NetworkNamespaces, netnsPath } from '../../platform/netns/index.ts';
import type { NetworkRequest, Networks } from '../launcher/index.ts';
import type { InstanceNetwork } from '../model.ts';
import type { NodeResources } from '../resources/index.ts';
import { LOCAL_HOSTS } from './names.ts';

export class LoopbackNetworks implements Networks {
  readonly #namespaces: NetworkNamespaces;
  readonly #resources: Pick<NodeResources, 'hosts'>;

  constructor(namespaces: NetworkNamespaces, resources: Pick<NodeResources, 'hosts'>) {
    this.#namespaces = namespaces;
    this.#resources = resources;
  }

  /** Nothing to take over: the namespaces are there as long as nobody stopped them. */
  async adopt(): Promise<void> {
    return Promise.resolve();
  }

  async start(
    requests: readonly NetworkRequest[],
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, InstanceNetwork | AosError>> {
    const ids = requests.map(({ info }) => instanceId(info.ident));
    await this.#namespaces.create(ids, signal);
    return new Map(requests.map((request) => [instanceId(request.info.ident), this.#network(request)]));
  }

  async stop(ids: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#namespaces.remove(ids, signal);
  }

  async release(idents: readonly InstanceIdent[], signal: AbortSignal): Promise<void> {
    // One whose stop was interrupted has its namespace still.
    await this.#namespaces.remove(idents.map(instanceId), signal);
  }

  #network({ info, item }: NetworkRequest): InstanceNetwork | AosError {
    try {
      return {
        netnsPath: netnsPath(instanceId(info.ident)),
        hosts: [...LOCAL_HOSTS, ...this.#resources.hosts((item.itemConfig?.resources ?? []).map(({ name }) => name))],
        dnsServers: [],
        hostname: item.itemConfig?.hostname ?? '',
      };
    } catch (error) {
      return asAosError(error);
    }
  }
}
