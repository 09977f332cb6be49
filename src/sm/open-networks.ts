/** The networks of this node, as the configuration wants them. */
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { asAosError, type Clock, type Logger } from '../core/index.ts';
import { Cgroups } from '../platform/cgroup/index.ts';
import { HostNameServers } from '../platform/dnsmasq/index.ts';
import { HostLinks } from '../platform/ip/index.ts';
import { HostNetworkNamespaces } from '../platform/netns/index.ts';
import { HostNft } from '../platform/nft/index.ts';
import type { Programs } from '../platform/program/index.ts';
import type { CmServices } from './client/index.ts';
import type { SmConfig } from './config.ts';
import type { Networks } from './launcher/index.ts';
import { NO_TRAFFIC_READER, type TrafficReader } from './monitoring/index.ts';
import {
  ensureForwarding,
  LoopbackNetworks,
  NetworkLink,
  NetworkManager,
  NetworkRows,
  TrafficRows,
} from './network/index.ts';
import type { NodeResources } from './resources/index.ts';
import { HELPERS_CGROUP } from './runtime/index.ts';

export interface NetworkParts {
  readonly config: SmConfig;
  readonly database: DatabaseSync;
  readonly cm: CmServices;
  readonly resources: NodeResources;
  readonly programs: Programs;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface NodeNetworks {
  readonly networks: Networks;
  readonly traffic: TrafficReader;
  /** The CM knows this node again. */
  onConnected(): void;
  start(): void;
  stop(): Promise<void>;
  /** After all instances were stopped: the firewall is left without anything of ours. */
  withdraw(signal: AbortSignal): Promise<void>;
}

export async function openNetworks(parts: NetworkParts): Promise<NodeNetworks> {
  const { config, database, cm, resources, programs, clock, logger } = parts;
  const namespaces = new HostNetworkNamespaces();
  if (config.network.mode === 'loopback') {
    const nothing = () => undefined;
    const networks = new LoopbackNetworks(namespaces, resources);
    return {
      networks,
      traffic: NO_TRAFFIC_READER,
      onConnected: nothing,
      start: nothing,
      stop: async () => undefined,
      withdraw: async () => undefined,
    };
  }
  await ensureForwarding(config.network.ipForward, logger);
  const networks = new NetworkManager({
    rows: new NetworkRows(database),
    trafficRows: new TrafficRows(database, logger),
    cm,
    namespaces,
    links: new HostLinks(programs),
    nft: new HostNft(programs),
    nameServers: new HostNameServers({ settle: (pid) => settle(pid, logger) }),
    namesDirectory: join(config.workingDir, 'dns'),
    resources,
    vlan: config.network.vlan,
    names: config.network.names,
    withIpv6: config.network.ipv6,
    trafficPeriod: config.network.trafficPeriod,
    clock,
    logger,
  });
  const link = new NetworkLink({ manager: networks, cm, reconnectMs: config.cmReconnectTimeout, clock, logger });
  return {
    networks,
    traffic: { node: () => networks.traffic(undefined), instance: (id) => networks.traffic(id) },
    onConnected: () => void link.sync(),
    start: () => link.start(),
    stop: () => link.stop(),
    withdraw: (signal) => networks.withdraw(signal),
  };
}

/** Name servers outlive this daemon. One that stays in our cgroup is worse than one outside, and better than none. */
function settle(pid: number, logger: Logger): void {
  try {
    new Cgroups().move(HELPERS_CGROUP, pid);
  } catch (error) {
    logger.warn({ error: asAosError(error).message }, 'a name server stays in the cgroup of the daemon');
  }
}
