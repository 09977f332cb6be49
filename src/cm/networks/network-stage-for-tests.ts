/** Networks of a unit for each test: a database, a directory for names, what is pushed to nodes. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach } from 'vitest';
import { type InstanceIdent, silentLogger } from '../../core/index.ts';
import { HostsFile } from './hosts-file.ts';
import type { RulePush } from './model.ts';
import { NetworkManager, type NetworkManagerOptions } from './network-manager.ts';
import { NETWORK_TABLES, NetworkStore } from './network-store.ts';

export function ident(itemId: string, instance = 0): InstanceIdent {
  return { itemId, subjectId: 'subject', instance, type: 'service', preinstalled: false };
}

export const NO_DATA = { hosts: [], exposedPorts: [], allowedConnections: [] };

export let directory: string;
export let database: DatabaseSync;
export let pushes: RulePush[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-networks-'));
  database = new DatabaseSync(':memory:');
  database.exec(NETWORK_TABLES);
  pushes = [];
});

afterEach(async () => {
  database.close();
  await rm(directory, { recursive: true, force: true });
});

export async function start(more: Partial<NetworkManagerOptions> = {}): Promise<NetworkManager> {
  const manager = new NetworkManager({
    store: new NetworkStore(database),
    hostsFile: new HostsFile({ directory, pidFile: join(directory, 'pid'), logger: silentLogger }),
    dnsIp: '10.0.0.100',
    isWanted: () => false,
    logger: silentLogger,
    routes: async () => [],
    ...more,
  });
  await manager.start();
  manager.onPush((push) => pushes.push(push));
  return manager;
}
