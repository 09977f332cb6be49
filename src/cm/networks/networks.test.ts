import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { network as api } from '../../api/contracts.ts';
import { ApiServer, Channel, identMessage } from '../../api/index.ts';
import { instanceKey, silentLogger } from '../../core/index.ts';
import { nextAddress, overlaps, parseIp, parseRoutes, SUBNETS } from './addresses.ts';
import type { NetworkState, ServiceData } from './model.ts';
import { NetworkService } from './network-service.ts';
import { database, directory, ident, NO_DATA, start } from './network-stage-for-tests.ts';
import { NetworkStore } from './network-store.ts';
import {
  type Choice,
  NO_NETWORKS,
  planAllocation,
  planNodeNetwork,
  planNodeRelease,
  planRelease,
} from './plan-network.ts';

describe('addresses', () => {
  test('[CM-98] a subnet that the host routes elsewhere is not taken', () => {
    const text = [
      'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT',
      'eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0',
      'eth1\t000011AC\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0',
    ].join('\n');
    const routes = parseRoutes(text);
    const free = SUBNETS.filter((subnet) => !routes.some((route) => overlaps(subnet, route)));
    expect(free).not.toContain('172.17.0.0/16');
    expect(free).not.toContain('172.18.0.0/16');
    expect(free[0]).toBe('172.19.0.0/16');
  });

  test('[CM-98] addresses begin at .0.2, go on after the last one given and come back to released ones', () => {
    expect(nextAddress('172.17.0.0/16', new Set(), undefined)).toBe('172.17.0.2');
    expect(nextAddress('172.17.0.0/16', new Set(), '172.17.0.255')).toBe('172.17.1.0');
    expect(nextAddress('172.17.0.0/16', new Set(['172.17.0.2']), '172.17.255.254')).toBe('172.17.0.3');
  });
});

describe('the unit', () => {
  test('[CM-98] each owner gets a network with a VLAN of its own, each node and instance an address, for good', async () => {
    const first = await start();
    const a = await first.nodeNetwork('owner-a', 'main');
    const b = await first.nodeNetwork('owner-b', 'main');
    expect([a.network.subnet, a.host.ip, b.network.subnet]).toEqual(['172.17.0.0/16', '172.17.0.2', '172.18.0.0/16']);
    expect(a.network.vlanId).toBeGreaterThanOrEqual(1);
    expect(a.network.vlanId).not.toBe(b.network.vlanId);
    const request = { ident: ident('a'), networkId: 'owner-a', nodeId: 'main', data: NO_DATA };
    const { instance } = await first.allocate(request);
    expect(instance).toMatchObject({ ip: '172.17.0.3', dnsServers: ['10.0.0.100'] });

    const second = await start();
    expect((await second.nodeNetwork('owner-a', 'main')).network).toEqual(a.network);
    expect((await second.allocate(request)).instance.ip).toBe('172.17.0.3');
    expect((await second.allocate({ ...request, ident: ident('a', 1) })).instance.ip).toBe('172.17.0.4');
  });

  test('the subnets can be configured; something else is refused at the start', async () => {
    const manager = await start({ subnets: ['10.66.0.0/16'] });
    expect((await manager.nodeNetwork('owner', 'main')).host.ip).toBe('10.66.0.2');
    await expect(manager.nodeNetwork('other', 'main')).rejects.toThrow('no available network');
    await expect(start({ subnets: ['10.66.0.0/24'] })).rejects.toThrow('10.66.0.0/24');
  });

  test('[CM-98] an instance that comes from another node keeps its address, and nobody else gets it', async () => {
    const manager = await start();
    for (const nodeId of ['n1', 'n2']) await manager.nodeNetwork('owner', nodeId);
    const request = { ident: ident('a'), networkId: 'owner', nodeId: 'n1', data: NO_DATA };
    const { ip } = (await manager.allocate(request)).instance;
    expect((await manager.allocate({ ...request, nodeId: 'n2' })).instance.ip).toBe(ip);
    await manager.release(ident('a'), 'n1');
    expect((await manager.allocate({ ...request, ident: ident('b') })).instance.ip).not.toBe(ip);
  });

  test('[CM-99] names are in the hosts file, unique over the unit, and still there after a restart', async () => {
    const manager = await start();
    await manager.nodeNetwork('owner', 'main');
    const request = { networkId: 'owner', nodeId: 'main' };
    await manager.allocate({ ...request, ident: ident('a'), data: { ...NO_DATA, hosts: ['a', 'www'] } });
    await expect(
      manager.allocate({ ...request, ident: ident('b'), data: { ...NO_DATA, hosts: ['www'] } }),
    ).rejects.toMatchObject({ code: 'alreadyExist', message: 'host already exists' });
    await start();
    expect(await readFile(join(directory, 'addnhosts'), 'utf8')).toBe('172.17.0.3\ta\twww\n');
    const third = await start();
    await third.release(ident('a'), 'main');
    expect(await readFile(join(directory, 'addnhosts'), 'utf8')).toBe('');
  });

  test('[CM-99] [X-16] a name that would be several, or a line of its own, takes nobody else the name', async () => {
    const manager = await start();
    await manager.nodeNetwork('owner', 'main');
    const allocate = (itemId: string, ...hosts: string[]) =>
      manager.allocate({ ident: ident(itemId), networkId: 'owner', nodeId: 'main', data: { ...NO_DATA, hosts } });
    await allocate('bank', 'bank');
    await allocate('evil', 'x\n172.17.0.4\tbank', 'y bank', 'z\tbank', '# bank', '', '-o', 'x'.repeat(254), 'evil');
    await allocate('nameless', 'a/b');
    expect(await readFile(join(directory, 'addnhosts'), 'utf8')).toBe('172.17.0.3\tbank\n172.17.0.4\tevil\n');
    await expect(allocate('evil', 'BANK')).rejects.toMatchObject({ code: 'alreadyExist' });
  });

  test('an address whose name cannot be written is nobody’s', async () => {
    const manager = await start();
    await manager.nodeNetwork('owner', 'main');
    await rm(directory, { recursive: true });
    await writeFile(directory, 'no directory');
    const data = { ...NO_DATA, hosts: ['a'] };
    await expect(
      manager.allocate({ ident: ident('a'), networkId: 'owner', nodeId: 'main', data }),
    ).rejects.toMatchObject({ code: 'runtime', message: 'failed to write to hosts file' });
    expect(manager.instances()).toEqual([]);
    expect(new NetworkStore(database).load().instances.size).toBe(0);
  });

  test('instances that a node no longer has are released, unless they shall run there', async () => {
    const manager = await start({ isWanted: ({ itemId }) => itemId === 'wanted' });
    await manager.nodeNetwork('owner', 'main');
    for (const itemId of ['wanted', 'lost']) {
      await manager.allocate({ ident: ident(itemId), networkId: 'owner', nodeId: 'main', data: NO_DATA });
    }
    await manager.sync('main', []);
    expect(manager.instances().map((one) => one.ident.itemId)).toEqual(['wanted']);
  });

  test('a network that only the node knows is taken over from it', async () => {
    const manager = await start();
    await manager.sync('main', [{ ident: ident('a'), networkId: 'owner', ip: '172.20.0.7', rules: [] }]);
    const { network, host } = await manager.nodeNetwork('owner', 'main');
    expect([network.subnet, host.ip]).toEqual(['172.20.0.0/16', '172.20.0.2']);
  });

  test('what a node says of addresses that cannot be, or of the subnet of another network, is not taken over', async () => {
    const manager = await start();
    await manager.nodeNetwork('owner', 'main');
    const one = (itemId: string, networkId: string, ip: string) => ({ ident: ident(itemId), networkId, ip, rules: [] });
    await manager.sync('other', [
      one('a', 'twin', '172.17.0.9'),
      one('b', 'none', 'localhost'),
      one('c', 'short', '172.20'),
      one('d', 'good', '172.21.0.9'),
    ]);
    expect(manager.instances().map(({ networkId }) => networkId)).toEqual(['good']);
    expect([...new NetworkStore(database).load().networks.keys()].sort()).toEqual(['good', 'owner']);
    expect((await manager.nodeNetwork('twin', 'other')).network.subnet).toBe('172.18.0.0/16');
  });

  test('the last node gives the network back, a node before it only its address', async () => {
    const manager = await start();
    for (const nodeId of ['n1', 'n2']) await manager.nodeNetwork('owner', nodeId);
    await manager.releaseNode('owner', 'n1');
    expect((await manager.nodeNetwork('owner', 'n2')).host.ip).toBe('172.17.0.3');
    await manager.releaseNode('owner', 'n2');
    await expect(manager.releaseNode('owner', 'n2')).rejects.toThrow('network not found');
    expect((await manager.nodeNetwork('other', 'n1')).network.subnet).toBe('172.18.0.0/16');
  });
});

describe('what cannot be', () => {
  const allocate = async (data: Partial<ServiceData>) => {
    const manager = await start();
    await manager.nodeNetwork('owner', 'main');
    return manager.allocate({ ident: ident('a'), networkId: 'owner', nodeId: 'main', data: { ...NO_DATA, ...data } });
  };

  test.each([
    ['no port', { exposedPorts: [''] }, 'unsupported ExposedPorts format'],
    ['a port of text', { exposedPorts: ['http'] }, 'unsupported ExposedPorts format'],
    ['a port beyond 65535', { exposedPorts: ['65536/tcp'] }, 'unsupported ExposedPorts format'],
    ['a range that ends before it begins', { exposedPorts: ['20-10'] }, 'unsupported ExposedPorts format'],
    ['a connection without a port', { allowedConnections: ['server'] }, 'unsupported allowed connections format'],
    ['a connection with more parts', { allowedConnections: ['a/1/tcp/x'] }, 'unsupported allowed connections format'],
    ['a connection to port 0', { allowedConnections: ['server/0'] }, 'unsupported allowed connections format'],
  ])('%s is refused as another CM would say it, and takes no address', async (_, data, message) => {
    await expect(allocate(data)).rejects.toMatchObject({ code: 'runtime', message });
    const manager = await start();
    expect(manager.instances()).toEqual([]);
  });

  test('unknown networks and nodes are told apart', async () => {
    const manager = await start();
    const request = { ident: ident('a'), networkId: 'owner', nodeId: 'main', data: NO_DATA };
    await expect(manager.allocate(request)).rejects.toMatchObject({ code: 'runtime', message: 'network not found' });
    await manager.nodeNetwork('owner', 'main');
    await expect(manager.allocate({ ...request, nodeId: 'other' })).rejects.toThrow('host not found');
    await expect(manager.releaseNode('owner', 'other')).rejects.toThrow('host not found');
    // An instance that nobody knows is released already.
    await manager.release(ident('nobody'), 'main');
  });

  test('a pool without a free subnet refuses the next owner, and serves it when another one has gone', async () => {
    const manager = await start({ subnets: ['10.66.0.0/16', '10.67.0.0/16'] });
    for (const owner of ['o1', 'o2']) await manager.nodeNetwork(owner, 'main');
    await expect(manager.nodeNetwork('o3', 'main')).rejects.toThrow('no available network');
    await manager.releaseNode('o1', 'main');
    expect((await manager.nodeNetwork('o3', 'main')).network.subnet).toBe('10.66.0.0/16');
  });

  test('a subnet without a free address refuses the next instance, naming the network', () => {
    const choice: Choice = { subnets: SUBNETS, routes: [], random: () => 0, lastGiven: () => undefined, released: [] };
    const { state, network } = planNodeNetwork(NO_NETWORKS, 'owner', 'main', choice);
    const all = Array.from({ length: 65_534 }, (_, index) => `172.17.${(index + 1) >> 8}.${(index + 1) & 255}`);
    const instances = new Map(
      all.map((ip, index) => {
        const one = ident('item', index);
        return [
          instanceKey(one),
          { ident: one, networkId: 'owner', nodeId: 'main', ip, dnsServers: [], exposedPorts: [], hosts: [] },
        ];
      }),
    );
    expect(network.subnet).toBe('172.17.0.0/16');
    const request = { ident: ident('late'), networkId: 'owner', nodeId: 'main', data: NO_DATA, dnsServers: [] };
    expect(() => planAllocation({ ...state, instances }, request, choice)).toThrow('no available IP for network owner');
  });
});

test('[CM-98] VLAN ids are none of the reserved ones and no two are the same, also when the dice always fall alike', () => {
  const subnets = Array.from({ length: 30 }, (_, index) => `10.${index}.0.0/16`);
  fc.assert(
    fc.property(fc.constantFrom(0, 0.5, 1 - Number.EPSILON), (random) => {
      const choice: Choice = { subnets, routes: [], random: () => random, lastGiven: () => undefined, released: [] };
      let state: NetworkState = NO_NETWORKS;
      for (const subnet of subnets) state = planNodeNetwork(state, `owner of ${subnet}`, 'n1', choice).state;
      const ids = [...state.networks.values()].map(({ vlanId }) => vlanId);
      expect(new Set(ids).size).toBe(30);
      expect(Math.min(...ids)).toBeGreaterThanOrEqual(1);
      expect(Math.max(...ids)).toBeLessThanOrEqual(4094);
    }),
  );
});

test('[CM-98] whatever is asked in whatever order, no two have the same address', () => {
  const choice: Choice = { subnets: SUBNETS, routes: [], random: () => 0, lastGiven: () => undefined, released: [] };
  const step = fc.record({
    what: fc.constantFrom('node', 'allocate', 'release', 'releaseNode'),
    owner: fc.constantFrom('o1', 'o2'),
    node: fc.constantFrom('n1', 'n2'),
    item: fc.constantFrom('a', 'b', 'c'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let state: NetworkState = NO_NETWORKS;
      for (const { what, owner, node, item } of steps) {
        try {
          if (what === 'node') state = planNodeNetwork(state, owner, node, choice).state;
          else if (what === 'release') state = planRelease(state, ident(item), node);
          else if (what === 'releaseNode') state = planNodeRelease(state, owner, node);
          else {
            const request = { ident: ident(item), networkId: owner, nodeId: node, data: NO_DATA, dnsServers: [] };
            state = planAllocation(state, request, choice).state;
          }
        } catch (error) {
          expect((error as Error).message).toMatch(/network not found|host not found/);
        }
        const addresses = [...state.hosts.values(), ...state.instances.values()].map(({ ip }) => ip);
        expect(new Set(addresses).size).toBe(addresses.length);
        for (const { ip, networkId } of state.instances.values()) {
          expect(parseIp(ip) >>> 16).toBe(parseIp(state.networks.get(networkId)!.subnet.split('/')[0]!) >>> 16);
        }
      }
    }),
  );
});

test('[CM-98] [CM-100] over the wire: failures are in the answer, success has no error, new rules come by subscription', async () => {
  const manager = await start();
  const service = new NetworkService(manager, silentLogger);
  const server = await ApiServer.open({ listen: '127.0.0.1:0', routes: service.routes, logger: silentLogger });
  const channel = new Channel({ address: `127.0.0.1:${server.address.port}` });
  const client = channel.client(api.NetworkService);
  const abort = new AbortController();
  try {
    const request = { instance: identMessage(ident('client')), networkId: 'o2', nodeId: 'main' };
    const refused = await client.allocateInstanceNetwork(request);
    expect(refused.error).toMatchObject({ aosCode: 2, message: 'network not found' });
    for (const networkId of ['o1', 'o2']) await client.getNodeNetworkParams({ networkId, nodeId: 'main' });
    const updates = client.subscribeInstanceNetworkUpdates({ nodeId: 'main' }, { signal: abort.signal });
    const next = updates[Symbol.asyncIterator]().next();
    const given = await client.allocateInstanceNetwork({
      ...request,
      serviceData: { allowedConnections: ['server/80/tcp'] },
    });
    expect(given).toMatchObject({ subnet: '172.18.0.0/16', ip: '172.18.0.3', dnsServers: ['10.0.0.100'] });
    expect(given.error).toBeUndefined();
    await client.allocateInstanceNetwork({
      instance: identMessage(ident('server')),
      networkId: 'o1',
      nodeId: 'main',
      serviceData: { exposedPorts: ['80'] },
    });
    const { value } = (await next) as { value: api.InstanceNetworkUpdateNotification };
    // A node that subscribes again is heard on its newest subscription; the end of the older one takes nothing away.
    const newer = client.subscribeInstanceNetworkUpdates({ nodeId: 'main' }, { signal: abort.signal });
    const pushed = newer[Symbol.asyncIterator]().next();
    await expect(updates[Symbol.asyncIterator]().next()).resolves.toMatchObject({ done: true });
    await client.allocateInstanceNetwork({
      instance: identMessage(ident('server', 1)),
      networkId: 'o1',
      nodeId: 'main',
      serviceData: { exposedPorts: ['80'] },
    });
    const heard = ((await pushed) as { value: typeof value }).value.update.value?.firewallRules;
    // Until it says what it has, it hears of both.
    expect(heard?.map(({ dstIp }) => dstIp)).toEqual(['172.17.0.3', '172.17.0.4']);
    expect(value.update.value?.firewallRules[0]).toMatchObject({ dstIp: '172.17.0.3', dstPort: '80', proto: 'tcp' });

    // What the node does not name any more is released, and what it names with its rule waits for nothing.
    const rule = { dstIp: '172.17.0.3', dstPort: '80', proto: 'tcp', srcIp: '172.18.0.3' };
    const running = {
      instance: identMessage(ident('client')),
      networkId: 'o2',
      ip: '172.18.0.3',
      firewallRules: [rule],
    };
    expect((await client.syncNetworkState({ nodeId: 'main', instances: [running] })).error).toBeUndefined();
    expect(manager.instances().map((one) => one.ident.itemId)).toEqual(['client']);
    const released = await client.releaseInstanceNetwork({ instance: identMessage(ident('client')), nodeId: 'main' });
    expect(released.error).toBeUndefined();
    expect(manager.instances()).toEqual([]);
    expect((await client.releaseNodeNetwork({ networkId: 'o2', nodeId: 'main' })).error).toBeUndefined();
    const again = await client.releaseNodeNetwork({ networkId: 'o2', nodeId: 'main' });
    expect(again.error).toMatchObject({ aosCode: 2, message: 'network not found' });
  } finally {
    abort.abort();
    channel.close();
    await server.close();
  }
});
