/** Networks of this node and of its instances, as the CM gave them (spec/sm.md 7.1); they outlive a power loss. */
import type { DatabaseSync } from 'node:sqlite';
import type { InstanceIdent } from '../../core/index.ts';
import { instanceId, instanceKey, instanceName } from '../../core/index.ts';
import { transaction } from '../../storage/index.ts';
import type { InstanceNetworkParameters } from '../client/index.ts';
import type { InstalledItem } from '../model.ts';
import type { FirewalledInstance } from './firewall.ts';
import { ipv6Of } from './ipv6.ts';
import type { InstanceLink } from './link-script.ts';
import { TRAFFIC_TABLES } from './traffic-rows.ts';

export const NETWORK_TABLES = `
CREATE TABLE network_node (network_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
-- By the full ident: two instances may differ in nothing but their type.
CREATE TABLE network_instance (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
${TRAFFIC_TABLES}`;

export interface NodeNetworkRow {
  readonly networkId: string;
  readonly ip: string;
  readonly subnet: string;
  readonly vlanId: number;
  readonly vlanName: string;
  readonly bridge: string;
}

/** What an instance wants of its network; limits in bytes per period. */
export interface NetworkWishes {
  readonly hostname: string;
  readonly exposedPorts: readonly string[];
  readonly allowedConnections: readonly string[];
  readonly downloadKbit?: number | undefined;
  readonly uploadKbit?: number | undefined;
  readonly downloadLimit?: number | undefined;
  readonly uploadLimit?: number | undefined;
}

export interface InstanceNetworkRow {
  readonly ident: InstanceIdent;
  readonly networkId: string;
  readonly wishes: NetworkWishes;
  readonly parameters: InstanceNetworkParameters;
  /** `making`: namespace, link and chain were begun; a crash may have left any part of them. */
  readonly state: 'down' | 'making' | 'up';
}

export function wishesOf(item: InstalledItem): NetworkWishes {
  const { hostname = '', allowedConnections = [], quotas } = item.itemConfig ?? {};
  const given = <K extends string>(key: K, value: number | undefined) =>
    (value === undefined ? {} : { [key]: value }) as { readonly [key in K]?: number };
  return {
    hostname,
    exposedPorts: item.imageConfig?.config.exposedPorts ?? [],
    allowedConnections,
    ...given('downloadKbit', quotas?.downloadSpeed),
    ...given('uploadKbit', quotas?.uploadSpeed),
    ...given('downloadLimit', quotas?.downloadLimit),
    ...given('uploadLimit', quotas?.uploadLimit),
  };
}

export function firewallOf({ ident, wishes, parameters }: InstanceNetworkRow): FirewalledInstance {
  const { ip, subnet, firewallRules } = parameters;
  const { exposedPorts, downloadLimit, uploadLimit } = wishes;
  return {
    ...{ id: instanceId(ident), name: instanceName(ident), ip, subnet, exposedPorts, rules: firewallRules },
    limits: { in: downloadLimit, out: uploadLimit },
  };
}

export function linkOf(row: InstanceNetworkRow, network: NodeNetworkRow, withIpv6: boolean): InstanceLink {
  const { downloadKbit, uploadKbit } = row.wishes;
  const { ip, subnet } = row.parameters;
  return {
    ...{ id: instanceId(row.ident), bridge: network.bridge, gateway: network.ip, ip, subnet, downloadKbit, uploadKbit },
    ...(withIpv6 && { ipv6: ipv6Of(row.networkId, ip) }),
  };
}

/** Every change is one durable transaction; reading is from memory. */
export class NetworkRows {
  readonly #database: DatabaseSync;
  readonly #networks = new Map<string, NodeNetworkRow>();
  readonly #instances = new Map<string, InstanceNetworkRow>();

  constructor(database: DatabaseSync) {
    this.#database = database;
    for (const { value } of database.prepare('SELECT value FROM network_node').all() as { value: string }[]) {
      const row = JSON.parse(value) as NodeNetworkRow;
      this.#networks.set(row.networkId, row);
    }
    for (const { value } of database.prepare('SELECT value FROM network_instance').all() as { value: string }[]) {
      const row = JSON.parse(value) as InstanceNetworkRow;
      this.#instances.set(instanceKey(row.ident), row);
    }
  }

  network(networkId: string): NodeNetworkRow | undefined {
    return this.#networks.get(networkId);
  }

  networks(): NodeNetworkRow[] {
    return [...this.#networks.values()];
  }

  instance(ident: InstanceIdent): InstanceNetworkRow | undefined {
    return this.#instances.get(instanceKey(ident));
  }

  instances(): InstanceNetworkRow[] {
    return [...this.#instances.values()];
  }

  put(networks: readonly NodeNetworkRow[], instances: readonly InstanceNetworkRow[]): void {
    if (networks.length === 0 && instances.length === 0) return;
    const { network, instance } = this.#statements();
    transaction(
      this.#database,
      () => {
        for (const row of networks) network.run(row.networkId, JSON.stringify(row));
        for (const row of instances) instance.run(instanceKey(row.ident), JSON.stringify(row));
      },
      'sm.network.put',
    );
    for (const row of networks) this.#networks.set(row.networkId, row);
    for (const row of instances) this.#instances.set(instanceKey(row.ident), row);
  }

  forget(networkIds: readonly string[], idents: readonly InstanceIdent[]): void {
    transaction(
      this.#database,
      () => {
        for (const id of networkIds) this.#database.prepare('DELETE FROM network_node WHERE network_id = ?').run(id);
        for (const ident of idents) {
          this.#database.prepare('DELETE FROM network_instance WHERE key = ?').run(instanceKey(ident));
        }
      },
      'sm.network.forget',
    );
    for (const id of networkIds) this.#networks.delete(id);
    for (const ident of idents) this.#instances.delete(instanceKey(ident));
  }

  #statements() {
    return {
      network: this.#database.prepare('INSERT OR REPLACE INTO network_node (network_id, value) VALUES (?, ?)'),
      instance: this.#database.prepare('INSERT OR REPLACE INTO network_instance (key, value) VALUES (?, ?)'),
    };
  }
}
