import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { type InstanceIdent, instanceId, silentLogger, systemClock } from '../../core/index.ts';
import type { Link } from '../../platform/ip/index.ts';
import { hostInterface } from './names.ts';
import { NetworkManager, type NetworkManagerOptions } from './network-manager.ts';
import { NETWORK_TABLES, NetworkRows } from './network-rows.ts';
import { TrafficRows } from './traffic-rows.ts';

const { signal } = new AbortController();
const idOf = (itemId: string) => instanceId({ itemId, subjectId: 's', instance: 0 });

/** Lines for `ip` when the service manager starts on a host with these links and namespaces, and knows network `br-0000000a`. */
async function removed(links: readonly Link[], namespaces: readonly string[]): Promise<string[]> {
  const database = new DatabaseSync(':memory:');
  database.exec(NETWORK_TABLES);
  const rows = new NetworkRows(database);
  const subnet = '172.17.0.0/16';
  const network = {
    networkId: 'red',
    ip: '172.17.0.1',
    subnet,
    vlanId: 7,
    vlanName: 'vlan-0000000a',
    bridge: 'br-0000000a',
  };
  const ident: InstanceIdent = { itemId: 'known', subjectId: 's', instance: 0, type: 'service', preinstalled: false };
  const parameters = { subnet, ip: '172.17.0.2', dnsServers: [], firewallRules: [] };
  const wishes = { hostname: '', exposedPorts: [], allowedConnections: [] };
  rows.put([network], [{ ident, networkId: 'red', wishes, parameters, state: 'down' }]);
  const lines: string[] = [];
  const manager = new NetworkManager({
    rows,
    trafficRows: new TrafficRows(database, silentLogger),
    links: {
      list: async () => links,
      tryAll: async (those: readonly string[]) => {
        lines.push(...those);
        return '';
      },
    },
    namespaces: { list: async () => namespaces },
    nft: { list: async () => undefined, apply: async () => undefined },
    names: 'off',
    vlan: 'off',
    clock: systemClock,
    logger: silentLogger,
  } as unknown as NetworkManagerOptions);
  await manager.adopt([], signal);
  return lines.map((line) => line.replace(/group \d+/, 'group N'));
}

test('[R-04] what a database that is lost knew of networks does not stay in the way of new ones', async () => {
  const lost = idOf('lost');
  const links: Link[] = [
    { name: 'br-0123abcd', kind: 'bridge' },
    { name: 'vlan-0123abce', kind: 'vlan', master: 'br-0123abcd' },
    { name: hostInterface(lost), kind: 'veth', master: 'br-0123abcd' },
  ];
  expect(await removed(links, [lost])).toEqual([
    `link delete dev ${hostInterface(lost)}`,
    'link delete dev vlan-0123abce',
    'link delete dev br-0123abcd',
    `netns delete ${lost}`,
  ]);
});

test('[SM-34] what is known stays, and what others have under names of their own', async () => {
  const known = idOf('known');
  const links: Link[] = [
    { name: 'br-0000000a', kind: 'bridge' },
    { name: 'br-0123456789ab', kind: 'bridge' },
    { name: 'br-0123abcd', kind: 'bond' },
    { name: 'br-lan', kind: 'bridge' },
    { name: hostInterface(known), kind: 'veth', master: 'br-0000000a' },
    { name: 'veth0123abcd', kind: 'veth', master: 'cni0' },
  ];
  const others = ['cni-8a890eaf-2338-4708-8787-47faa572efab', '8a890eaf-2338-4708-8787-47faa572efab', 'lab'];
  // An instance of another unit, whose links are in a network of its own.
  expect(await removed(links, [known, idOf('of another unit'), ...others])).toEqual([]);
});
