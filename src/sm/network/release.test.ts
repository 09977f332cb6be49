import { DatabaseSync } from 'node:sqlite';
import { beforeEach, expect, test } from 'vitest';
import { AosError, type InstanceIdent, silentLogger, systemClock } from '../../core/index.ts';
import type { NetworkRequest } from '../launcher/index.ts';
import { NetworkManager, type NetworkManagerOptions } from './network-manager.ts';
import { NETWORK_TABLES, NetworkRows } from './network-rows.ts';
import { TrafficRows } from './traffic-rows.ts';

const { signal } = new AbortController();
const ident: InstanceIdent = { itemId: 'a', subjectId: 's', instance: 0, type: 'service', preinstalled: false };
const SUBNET = '172.17.0.0/16';

let rows: NetworkRows;
/** Of an instance whose network is down already: nothing of it is on the host. */
let manager: NetworkManager;
let releaseNode: () => Promise<void>;
let releaseInstance: (ident: InstanceIdent) => Promise<void>;
/** Networks that the CM was asked for. */
let wanted: string[];

beforeEach(() => {
  wanted = [];
  releaseInstance = async () => undefined;
  const database = new DatabaseSync(':memory:');
  database.exec(NETWORK_TABLES);
  rows = new NetworkRows(database);
  const network = { networkId: 'red', ip: '172.17.0.1', subnet: SUBNET, vlanId: 7, vlanName: 'vlan-1', bridge: 'br-1' };
  const parameters = { subnet: SUBNET, ip: '172.17.0.2', dnsServers: [], firewallRules: [] };
  const wishes = { hostname: '', exposedPorts: [], allowedConnections: [] };
  rows.put([network], [{ ident, networkId: 'red', wishes, parameters, state: 'down' }]);
  manager = new NetworkManager({
    rows,
    trafficRows: new TrafficRows(database, silentLogger),
    cm: {
      releaseInstance: (one: InstanceIdent) => releaseInstance(one),
      releaseNode: () => releaseNode(),
      nodeNetwork: async (networkId: string) => {
        wanted.push(networkId);
        throw new AosError('failed', 'no network is free');
      },
    },
    clock: systemClock,
    logger: silentLogger,
  } as unknown as NetworkManagerOptions);
});

test('[SM-34] a network that the CM does not know any more is no reason to remember it for ever', async () => {
  releaseNode = async () => {
    // In the words of twins and of ours, after it lost its database.
    throw new AosError('runtime', 'CM: network not found');
  };
  await manager.release([ident], signal);
  expect([rows.networks(), rows.instances()]).toEqual([[], []]);
});

test('[SM-34] a CM that is away is asked again', async () => {
  let isAway = true;
  releaseNode = async () => {
    if (isAway) throw new AosError('failed', 'no connection to the CM');
  };
  await expect(manager.release([ident], signal)).rejects.toThrow('no connection to the CM');
  expect(rows.networks()).toHaveLength(1);
  isAway = false;
  await manager.release([ident], signal);
  expect(rows.networks()).toEqual([]);
});

test('[SM-34] an instance that the CM refuses to take back keeps none of the others', async () => {
  const other = { ...ident, instance: 1 };
  const [row] = rows.instances();
  rows.put([], [{ ...row!, ident: other }]);
  releaseInstance = async (one) => {
    if (one.instance === 0) throw new AosError('failed', 'not that one');
  };
  await expect(manager.release([ident, other], signal)).rejects.toThrow('not that one');
  expect(rows.instances().map((left) => left.ident.instance)).toEqual([0]);
  expect(rows.networks()).toHaveLength(1);
});

test('[SM-34] an instance with another owner gives back its address, and the network that it left last, before it asks for others', async () => {
  const given: string[] = [];
  releaseInstance = async () => void given.push('address', ...wanted);
  releaseNode = async () => void given.push('network', ...wanted);
  const info = { ident, ownerId: 'blue' };
  const outcomes = await manager.start([{ info, item: {} } as unknown as NetworkRequest], signal);
  expect([...outcomes.values()]).toMatchObject([{ message: 'no network is free' }]);
  expect([given, wanted]).toEqual([['address', 'network'], ['blue']]);
  expect([rows.networks(), rows.instances()]).toEqual([[], []]);
});

test('[SM-34] a CM that does not take a former address back hinders no start', async () => {
  releaseInstance = async () => {
    throw new AosError('failed', 'not that one');
  };
  const info = { ident, ownerId: 'blue' };
  await manager.start([{ info, item: {} } as unknown as NetworkRequest], signal);
  expect(wanted).toEqual(['blue']);
});
