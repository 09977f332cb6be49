/** Networks in `aos-cm.db` (spec/cm.md 6.6, 10). */
import type { DatabaseSync } from 'node:sqlite';
import { transaction } from '../../storage/index.ts';
import type { Network, NetworkHost, NetworkInstance, NetworkState, PendingConnection } from './model.ts';

/** Part of version 1 of the schema. */
export const NETWORK_TABLES = `
CREATE TABLE network_networks (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE network_hosts (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE network_instances (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE network_pending (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
`;

type Table = 'network_networks' | 'network_hosts' | 'network_instances' | 'network_pending';

export class NetworkStore {
  readonly #database: DatabaseSync;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  load(): NetworkState {
    return {
      networks: this.#load<Network>('network_networks'),
      hosts: this.#load<NetworkHost>('network_hosts'),
      instances: this.#load<NetworkInstance>('network_instances'),
      pending: [...this.#load<PendingConnection>('network_pending').values()],
    };
  }

  /** Writes what differs, in one transaction; nothing when nothing does. Entries that did not change are the same objects. */
  save(before: NetworkState, after: NetworkState): void {
    if (before === after) return;
    transaction(
      this.#database,
      () => {
        this.#write('network_networks', before.networks, after.networks);
        this.#write('network_hosts', before.hosts, after.hosts);
        this.#write('network_instances', before.instances, after.instances);
        if (before.pending !== after.pending)
          this.#write('network_pending', byText(before.pending), byText(after.pending));
      },
      'network.save',
    );
  }

  #load<T>(table: Table): Map<string, T> {
    const records = this.#database.prepare(`SELECT key, value FROM ${table}`).all();
    return new Map(records.map(({ key, value }) => [String(key), JSON.parse(String(value)) as T]));
  }

  #write<T>(table: Table, before: ReadonlyMap<string, T>, after: ReadonlyMap<string, T>): void {
    if (before === after) return;
    const put = this.#database.prepare(`INSERT OR REPLACE INTO ${table} (key, value) VALUES (?, ?)`);
    for (const [key, value] of after) if (before.get(key) !== value) put.run(key, JSON.stringify(value));
    const remove = this.#database.prepare(`DELETE FROM ${table} WHERE key = ?`);
    for (const key of before.keys()) if (!after.has(key)) remove.run(key);
  }
}

function byText(pending: readonly PendingConnection[]): Map<string, PendingConnection> {
  return new Map(pending.map((one) => [JSON.stringify(one), one]));
}
