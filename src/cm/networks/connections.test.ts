import { expect, test } from 'vitest';
import { ident, NO_DATA, pushes, start } from './network-stage-for-tests.ts';

test('[CM-100] a connection to another network gets a rule for each instance that exposes the port', async () => {
  const manager = await start();
  for (const owner of ['o1', 'o2']) await manager.nodeNetwork(owner, 'main');
  const server = { ...NO_DATA, exposedPorts: ['8080/tcp', '9000-9010/udp'] };
  for (const index of [0, 1]) {
    await manager.allocate({ ident: ident('server', index), networkId: 'o1', nodeId: 'main', data: server });
  }
  const client = { ...NO_DATA, allowedConnections: ['server/8080/tcp', 'server/9005/udp', 'server/22'] };
  const { rules } = await manager.allocate({ ident: ident('client'), networkId: 'o2', nodeId: 'main', data: client });
  expect(rules).toEqual([
    { dstIp: '172.17.0.3', dstPort: '8080', proto: 'tcp', srcIp: '172.18.0.3' },
    { dstIp: '172.17.0.4', dstPort: '8080', proto: 'tcp', srcIp: '172.18.0.3' },
    { dstIp: '172.17.0.3', dstPort: '9005', proto: 'udp', srcIp: '172.18.0.3' },
    { dstIp: '172.17.0.4', dstPort: '9005', proto: 'udp', srcIp: '172.18.0.3' },
  ]);
});

test('[CM-100] who asked for an item before it had an instance gets the rule when it has, also after a restart', async () => {
  const first = await start();
  for (const owner of ['o1', 'o2']) await first.nodeNetwork(owner, 'main');
  const client = { ...NO_DATA, allowedConnections: ['server/8080/tcp'] };
  await first.allocate({ ident: ident('client'), networkId: 'o2', nodeId: 'main', data: client });
  const second = await start();
  await second.allocate({
    ident: ident('server'),
    networkId: 'o1',
    nodeId: 'main',
    data: { ...NO_DATA, exposedPorts: ['8080'] },
  });
  const rule = { dstIp: '172.17.0.3', dstPort: '8080', proto: 'tcp', srcIp: '172.18.0.3' };
  expect(pushes).toEqual([{ nodeId: 'main', ident: ident('client'), rules: [rule] }]);

  // The node has not heard: it synchronises, hears again, and then lists the rule.
  const running = (rules: (typeof rule)[]) => [
    { ident: ident('client'), networkId: 'o2', ip: '172.18.0.3', rules },
    { ident: ident('server'), networkId: 'o1', ip: '172.17.0.3', rules: [] },
  ];
  await second.sync('main', running([]));
  expect(pushes).toHaveLength(2);
  await second.sync('main', running([rule]));
  expect(pushes).toHaveLength(2);
  // A node that lost it is told once more.
  await second.sync('main', running([]));
  expect(pushes).toHaveLength(3);
  expect(pushes[2]).toEqual(pushes[0]);
});

test('[CM-100] a further instance of the target, another address of it, and a port that it opens later get their rules', async () => {
  const manager = await start();
  for (const owner of ['o1', 'o2', 'o3']) await manager.nodeNetwork(owner, 'main');
  await manager.nodeNetwork('o2', 'aux');
  const serve = (index: number, ...exposedPorts: string[]) =>
    manager.allocate({
      ident: ident('server', index),
      networkId: 'o1',
      nodeId: 'main',
      data: { ...NO_DATA, exposedPorts },
    });
  const client = { ...NO_DATA, allowedConnections: ['server/80', 'server/90'] };
  await serve(0, '80');
  await manager.allocate({ ident: ident('client'), networkId: 'o2', nodeId: 'aux', data: client });
  await manager.allocate({ ident: ident('other'), networkId: 'o3', nodeId: 'main', data: NO_DATA });
  expect(pushes).toEqual([]);
  const heard = () =>
    pushes.splice(0).map(({ nodeId, ident: { itemId }, rules }) => {
      return `${itemId} on ${nodeId}: ${rules.map(({ dstIp, dstPort }) => `${dstIp} ${dstPort}`).join(', ')}`;
    });
  await serve(1, '80');
  expect(heard()).toEqual(['client on aux: 172.17.0.4 80']);
  await serve(1, '80');
  expect(heard(), 'the same again').toEqual([]);
  await serve(0, '80', '90');
  expect(heard()).toEqual(['client on aux: 172.17.0.3 90']);
  await manager.release(ident('server', 1), 'main');
  await serve(1, '80');
  expect(heard()).toEqual(['client on aux: 172.17.0.5 80']);

  // Nobody listened: the node hears what it lacks when it synchronises, up to what an SM takes.
  const lacks = { dstIp: '172.17.0.3', dstPort: '80', proto: 'tcp', srcIp: '172.18.0.4' };
  const { ip } = manager.instances().find(({ ident: { itemId } }) => itemId === 'client')!;
  const sync = (rules: readonly (typeof lacks)[]) =>
    manager.sync('aux', [{ ident: ident('client'), networkId: 'o2', ip, rules }]);
  await sync([lacks]);
  expect(heard()).toEqual(['client on aux: 172.17.0.5 80, 172.17.0.3 90']);
  await sync([lacks, ...Array.from({ length: 8 }, (_, index) => ({ ...lacks, dstIp: `172.17.9.${index}` }))]);
  expect(heard()).toEqual(['client on aux: 172.17.0.5 80']);
});

test('an SM gets at most ten rules for an instance', async () => {
  const manager = await start();
  for (const owner of ['o1', 'o2']) await manager.nodeNetwork(owner, 'main');
  const data = { ...NO_DATA, exposedPorts: ['80'] };
  for (let index = 0; index < 12; index += 1) {
    await manager.allocate({ ident: ident('server', index), networkId: 'o1', nodeId: 'main', data });
  }
  const client = { ...NO_DATA, allowedConnections: ['server/80'] };
  const { rules } = await manager.allocate({ ident: ident('client'), networkId: 'o2', nodeId: 'main', data: client });
  expect(rules).toHaveLength(10);
  // Many instances of one target do not cost the connection to another one.
  await manager.allocate({ ident: ident('one'), networkId: 'o1', nodeId: 'main', data });
  const both = { ...NO_DATA, allowedConnections: ['server/80', 'one/80'] };
  const { rules: fair } = await manager.allocate({
    ident: ident('second'),
    networkId: 'o2',
    nodeId: 'main',
    data: both,
  });
  expect(fair.map(({ dstIp }) => dstIp)).toEqual([...rules.slice(0, 9).map(({ dstIp }) => dstIp), '172.17.0.15']);
});
