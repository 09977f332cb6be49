/** Networks of the unit as plain data (spec/cm.md 6). */
import type { InstanceIdent } from '../../core/index.ts';

export interface FirewallRule {
  readonly dstIp: string;
  readonly dstPort: string;
  readonly proto: string;
  readonly srcIp: string;
}

export interface Network {
  readonly networkId: string;
  /** `172.17.0.0/16`. */
  readonly subnet: string;
  readonly vlanId: number;
}

/** A node's own address in a network. */
export interface NetworkHost {
  readonly networkId: string;
  readonly nodeId: string;
  readonly ip: string;
}

export interface NetworkInstance {
  readonly ident: InstanceIdent;
  readonly networkId: string;
  readonly nodeId: string;
  readonly ip: string;
  readonly dnsServers: readonly string[];
  /** `port[/protocol]`, as its SM said it. */
  readonly exposedPorts: readonly string[];
  readonly hosts: readonly string[];
  /** `item/port[/protocol]`, as its SM said it; absent when only its node knows. */
  readonly allowedConnections?: readonly string[] | undefined;
}

/** A connection to an item that has no instance yet. */
export interface PendingConnection {
  readonly requester: InstanceIdent;
  readonly nodeId: string;
  readonly requesterIp: string;
  readonly requesterSubnet: string;
  readonly targetItemId: string;
  readonly port: string;
  readonly protocol: string;
}

export interface NetworkState {
  readonly networks: ReadonlyMap<string, Network>;
  /** By `network\nnode`. */
  readonly hosts: ReadonlyMap<string, NetworkHost>;
  /** By ident. */
  readonly instances: ReadonlyMap<string, NetworkInstance>;
  readonly pending: readonly PendingConnection[];
}

/** Rules that an SM must add for an instance that runs already. */
export interface RulePush {
  readonly nodeId: string;
  readonly ident: InstanceIdent;
  readonly rules: readonly FirewallRule[];
}

export interface ServiceData {
  readonly hosts: readonly string[];
  readonly exposedPorts: readonly string[];
  readonly allowedConnections: readonly string[];
}
