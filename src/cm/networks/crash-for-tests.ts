/** Gives an instance its address and its name; started by a test that lets it die on the way: `<directory>`. */
import { join } from 'node:path';
import { silentLogger } from '../../core/index.ts';
import { openDatabase } from '../../storage/index.ts';
import { HostsFile } from './hosts-file.ts';
import { NetworkManager } from './network-manager.ts';
import { NETWORK_TABLES, NetworkStore } from './network-store.ts';

const [directory = ''] = process.argv.slice(2);
const database = await openDatabase(join(directory, 'test.db'), [NETWORK_TABLES], silentLogger);
const manager = new NetworkManager({
  store: new NetworkStore(database),
  hostsFile: new HostsFile({ directory, pidFile: join(directory, 'pid'), logger: silentLogger }),
  dnsIp: '',
  isWanted: () => true,
  logger: silentLogger,
  routes: async () => [],
});
await manager.start();
await manager.nodeNetwork('owner', 'main');
const ident = { itemId: 'web', subjectId: 'subject', instance: 0, type: 'service', preinstalled: false } as const;
await manager.allocate({
  ident,
  networkId: 'owner',
  nodeId: 'main',
  data: { hosts: ['web'], exposedPorts: [], allowedConnections: [] },
});
database.close();
