/** The name servers of the networks of this node: there while something runs in the network (spec/sm.md 7.6). */
import { join } from 'node:path';
import { asAosError, type Logger } from '../../core/index.ts';
import type { NameServers } from '../../platform/dnsmasq/index.ts';
import { nameRecords } from './name-records.ts';
import { networkDirectory } from './names.ts';
import type { NetworkRows, NodeNetworkRow } from './network-rows.ts';

/** `off`: instances ask the servers of the CM alone. */
export type NameService = 'auto' | 'required' | 'off';

export interface HostNamesOptions {
  readonly rows: NetworkRows;
  readonly servers: NameServers;
  /** Directory with one directory per network. */
  readonly root: string;
  readonly mode: NameService;
  readonly withIpv6: boolean;
  readonly logger: Logger;
}

export class HostNames {
  readonly #options: HostNamesOptions;
  /** Of networks without a server; each is told once. */
  readonly #told = new Set<string>();

  constructor(options: HostNamesOptions) {
    this.#options = options;
  }

  /** Where instances of the network find names, or undefined. */
  serverOf(network: NodeNetworkRow): string | undefined {
    return this.#options.mode !== 'off' && this.#options.servers.isRunning(this.#server(network))
      ? network.ip
      : undefined;
  }

  /** Makes every server answer what runs; those of idle networks end. Throws only when names are required. */
  async serve(signal: AbortSignal): Promise<void> {
    const { rows, servers, mode, root, withIpv6 } = this.#options;
    if (mode === 'off') return;
    const busy = new Set<string>();
    for (const network of rows.networks()) {
      const members = rows
        .instances()
        .filter(({ networkId, state }) => networkId === network.networkId && state !== 'down');
      if (members.length === 0) continue;
      busy.add(networkDirectory(network.networkId));
      try {
        await servers.start(this.#server(network), nameRecords(members, withIpv6), signal);
        this.#told.delete(network.networkId);
      } catch (error) {
        if (mode === 'required') throw error;
        this.#tell(network.networkId, error);
      }
    }
    for (const directory of await servers.list(root)) {
      if (!busy.has(directory)) await servers.stop(join(root, directory), signal);
    }
  }

  #server(network: NodeNetworkRow) {
    const { networkId, bridge, ip } = network;
    return { directory: join(this.#options.root, networkDirectory(networkId)), interface: bridge, address: ip };
  }

  #tell(networkId: string, error: unknown): void {
    if (this.#told.has(networkId)) return;
    this.#told.add(networkId);
    this.#options.logger.warn({ networkId }, `no names in the network: ${asAosError(error).message}`);
  }
}
