/** What each request of an SM makes of the networks (spec/cm.md 6.2–6.4, spec/decisions.md CM-49, CM-50). Pure. */
import { isIPv4 } from 'node:net';
import { AosError, type InstanceIdent, instanceKey } from '../../core/index.ts';
import { isInSubnet, nextAddress, overlaps, type Route, subnetOf } from './addresses.ts';
import {
  checkExposedPort,
  connect,
  isOpened,
  mergePushes,
  missingRules,
  readConnection,
  resolvePending,
  rulesTo,
} from './connections.ts';
import type {
  FirewallRule,
  Network,
  NetworkHost,
  NetworkInstance,
  NetworkState,
  RulePush,
  ServiceData,
} from './model.ts';

const MAX_NETWORKS = 32;
const LAST_VLAN = 4094;

export const NO_NETWORKS: NetworkState = {
  networks: new Map(),
  hosts: new Map(),
  instances: new Map(),
  pending: [],
};

export interface Choice {
  /** In the order in which networks take them. */
  readonly subnets: readonly string[];
  readonly routes: readonly Route[];
  /** At least 0, below 1. */
  readonly random: () => number;
  /** Address that was given last in a network, so that released ones rest before they are given again. */
  readonly lastGiven: (networkId: string) => string | undefined;
  /** Subnets that were released, the latest last: they are taken after all others. */
  readonly released: readonly string[];
}

export interface NodeNetwork {
  readonly state: NetworkState;
  readonly network: Network;
  readonly host: NetworkHost;
}

export function hostKey(networkId: string, nodeId: string): string {
  return `${networkId}\n${nodeId}`;
}

/** The network with the node's own address in it; both are made when they are not there. */
export function planNodeNetwork(state: NetworkState, networkId: string, nodeId: string, choice: Choice): NodeNetwork {
  const known = state.networks.get(networkId);
  const knownHost = state.hosts.get(hostKey(networkId, nodeId));
  if (known && knownHost) return { state, network: known, host: knownHost };
  const network = known ?? newNetwork(state, networkId, choice);
  const ip = takeAddress(state, network, choice);
  const host = { networkId, nodeId, ip };
  return {
    network,
    host,
    state: {
      ...state,
      networks: new Map(state.networks).set(networkId, network),
      hosts: new Map(state.hosts).set(hostKey(networkId, nodeId), host),
    },
  };
}

function newNetwork(state: NetworkState, networkId: string, choice: Choice, subnet?: string): Network {
  if (state.networks.size >= MAX_NETWORKS) throw new AosError('noMemory', 'no available network');
  return { networkId, subnet: subnet ?? freeSubnet(state, choice), vlanId: freeVlan(state, choice.random) };
}

function freeSubnet({ networks }: NetworkState, { subnets, routes, released }: Choice): string {
  const used = new Set([...networks.values()].map(({ subnet }) => subnet));
  const rested = (subnet: string) => released.indexOf(subnet);
  const free = subnets.filter((subnet) => !used.has(subnet) && !routes.some((route) => overlaps(subnet, route)));
  const subnet = free.sort((a, b) => rested(a) - rested(b))[0];
  if (subnet === undefined) throw new AosError('runtime', 'no available network');
  return subnet;
}

/** 0 and 4095 are reserved. */
function freeVlan({ networks }: NetworkState, random: () => number): number {
  const used = new Set([...networks.values()].map(({ vlanId }) => vlanId));
  let vlanId = 1 + Math.floor(random() * LAST_VLAN);
  while (used.has(vlanId)) vlanId = (vlanId % LAST_VLAN) + 1;
  return vlanId;
}

function takeAddress(state: NetworkState, { networkId, subnet }: Network, { lastGiven }: Choice): string {
  const used = new Set(
    [...state.hosts.values(), ...state.instances.values()]
      .filter((one) => one.networkId === networkId)
      .map(({ ip }) => ip),
  );
  const ip = nextAddress(subnet, used, lastGiven(networkId));
  if (ip === undefined) throw new AosError('runtime', `no available IP for network ${networkId}`);
  return ip;
}

export interface Allocation {
  readonly state: NetworkState;
  readonly network: Network;
  readonly instance: NetworkInstance;
  readonly rules: readonly FirewallRule[];
  /** For requesters that may reach this item. */
  readonly pushes: readonly RulePush[];
}

export interface AllocateRequest {
  readonly ident: InstanceIdent;
  readonly networkId: string;
  readonly nodeId: string;
  readonly data: ServiceData;
  readonly dnsServers: readonly string[];
}

/** An instance that had an address in the network keeps it, also when it comes from another node. */
export function planAllocation(state: NetworkState, request: AllocateRequest, choice: Choice): Allocation {
  const { ident, networkId, nodeId, data } = request;
  const network = state.networks.get(networkId);
  if (!network) throw new AosError('runtime', 'network not found');
  if (!state.hosts.has(hostKey(networkId, nodeId))) throw new AosError('runtime', 'host not found');
  for (const port of data.exposedPorts) checkExposedPort(port);
  const connections = data.allowedConnections.map(readConnection);
  const key = instanceKey(ident);
  checkHosts(state, key, data.hosts);

  const known = state.instances.get(key);
  const keeps = known?.networkId === networkId && isInSubnet(known.ip, network.subnet);
  const instance: NetworkInstance = {
    ident,
    networkId,
    nodeId,
    ip: keeps ? known.ip : takeAddress(state, network, choice),
    dnsServers: keeps ? known.dnsServers : request.dnsServers,
    exposedPorts: data.exposedPorts,
    hosts: data.hosts,
    allowedConnections: data.allowedConnections,
  };
  const instances = new Map(state.instances).set(key, instance);
  const requester = { ip: instance.ip, subnet: network.subnet };
  const { rules, waiting } = connect(connections, requester, instances.values());
  const others = state.pending.filter((pending) => instanceKey(pending.requester) !== key);
  const next: NetworkState = {
    ...state,
    instances,
    pending: [
      ...others,
      ...waiting.map(({ itemId, port, protocol }) => ({
        requester: ident,
        nodeId,
        requesterIp: instance.ip,
        requesterSubnet: network.subnet,
        targetItemId: itemId,
        port,
        protocol,
      })),
    ],
  };
  const pushes = mergePushes(
    resolvePending(next, ({ targetItemId }) => targetItemId === ident.itemId),
    rulesTo(instance, state.instances, instances),
  );
  return { state: next, network, instance, rules, pushes };
}

/** Name servers make no difference between small and capital letters. */
function checkHosts(state: NetworkState, key: string, hosts: readonly string[]): void {
  const wanted = new Set(hosts.map((name) => name.toLowerCase()));
  for (const [other, { hosts: taken }] of state.instances) {
    if (other !== key && taken.some((name) => wanted.has(name.toLowerCase()))) {
      throw new AosError('alreadyExist', 'host already exists');
    }
  }
}

/** Gives back the address of an instance; one that is not on this node changes nothing. */
export function planRelease(state: NetworkState, ident: InstanceIdent, nodeId: string): NetworkState {
  const key = instanceKey(ident);
  if (state.instances.get(key)?.nodeId !== nodeId) return state;
  const instances = new Map(state.instances);
  instances.delete(key);
  return { ...state, instances, pending: state.pending.filter(({ requester }) => instanceKey(requester) !== key) };
}

/** Gives back the node's address with those of its instances; the last node takes the network with it. */
export function planNodeRelease(state: NetworkState, networkId: string, nodeId: string): NetworkState {
  if (!state.networks.has(networkId)) throw new AosError('runtime', 'network not found');
  if (!state.hosts.has(hostKey(networkId, nodeId))) throw new AosError('runtime', 'host not found');
  const mine = [...state.instances.values()].filter((one) => one.networkId === networkId && one.nodeId === nodeId);
  const rest = mine.reduce((now, { ident }) => planRelease(now, ident, nodeId), state);
  const hosts = new Map(rest.hosts);
  hosts.delete(hostKey(networkId, nodeId));
  const networks = new Map(rest.networks);
  if (![...hosts.values()].some((host) => host.networkId === networkId)) networks.delete(networkId);
  return { ...rest, hosts, networks };
}

export interface RunningNetwork {
  readonly ident: InstanceIdent;
  readonly networkId: string;
  readonly ip: string;
  readonly rules: readonly FirewallRule[];
}

export interface Sync {
  readonly state: NetworkState;
  readonly pushes: readonly RulePush[];
  /** Networks that only the SM knew. */
  readonly adopted: readonly string[];
}

/**
 * Brings both sides together when a node connects. Instances that it does not list are released, unless they shall
 * run there; networks of which only it knows are taken over from it (spec/decisions.md 7.2).
 */
export function planSync(
  state: NetworkState,
  nodeId: string,
  running: readonly RunningNetwork[],
  choice: Choice & { readonly isWanted: (ident: InstanceIdent) => boolean },
): Sync {
  const listed = new Map(running.map((one) => [instanceKey(one.ident), one]));
  const lost = [...state.instances.values()].filter(
    (one) => one.nodeId === nodeId && !listed.has(instanceKey(one.ident)) && !choice.isWanted(one.ident),
  );
  let next = lost.reduce((now, { ident }) => planRelease(now, ident, nodeId), state);

  const adopted: string[] = [];
  for (const one of running) {
    const key = instanceKey(one.ident);
    if (next.instances.has(key) || !isIPv4(one.ip)) continue;
    if (!next.networks.has(one.networkId)) {
      const subnet = subnetOf(one.ip);
      // Two networks in one subnet would mix: this one is made anew when its node asks for it.
      if ([...next.networks.values()].some((network) => network.subnet === subnet)) continue;
      adopted.push(one.networkId);
      const network = newNetwork(next, one.networkId, choice, subnet);
      next = { ...next, networks: new Map(next.networks).set(one.networkId, network) };
    }
    if (!isInSubnet(one.ip, next.networks.get(one.networkId)!.subnet)) continue;
    const instance = { ...one, nodeId, dnsServers: [], exposedPorts: [], hosts: [] };
    next = { ...next, instances: new Map(next.instances).set(key, withoutRules(instance)) };
  }

  const pending = next.pending.filter((one) => {
    const rules = listed.get(instanceKey(one.requester))?.rules;
    return !(rules && isOpened(one, rules));
  });
  if (pending.length !== next.pending.length) next = { ...next, pending };
  const pushes = mergePushes(
    resolvePending(next, () => true),
    missingRules(next, nodeId, (key) => listed.get(key)?.rules),
  );
  return { state: next, pushes, adopted };
}

function withoutRules({ rules: _, ...instance }: NetworkInstance & { rules: unknown }): NetworkInstance {
  return instance;
}
