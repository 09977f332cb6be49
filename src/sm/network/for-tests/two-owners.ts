/**
 * Two owners' networks on a host of their own, for `network-manager.test.ts`: run inside of fresh network, mount and
 * process namespaces, so that nothing of the real host is seen or changed. Prints what happened as JSON.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AosError, instanceId } from '../../../core/index.ts';
import { HostNameServers } from '../../../platform/dnsmasq/index.ts';
import { HostLinks } from '../../../platform/ip/index.ts';
import { HostNetworkNamespaces } from '../../../platform/netns/index.ts';
import { identifyProcess, isRunning } from '../../../platform/proc/index.ts';
import { idOf, NetworkHost, request } from './network-host.ts';
import { connects, hold, makeOutside, OUTSIDE, resolve, run, serve } from './outside.ts';

const { signal } = new AbortController();

interface Shaper {
  readonly dev: string;
  readonly kind: string;
  readonly overlimits: number;
}

async function shapers(): Promise<Shaper[]> {
  const { stdout } = await run('tc', ['-j', '-s', 'qdisc', 'show']);
  return (JSON.parse(stdout) as Shaper[]).filter(({ kind }) => kind === 'tbf');
}

const links = async () => (await new HostLinks().list(signal)).map(({ name }) => name.replace(/-.*|[0-9a-f]{8}$/, ''));

/** The whole story; what each step gave is in the answer. */
export async function story(): Promise<Record<string, unknown>> {
  const result: Record<string, unknown> = {};
  const host = new NetworkHost();
  const manager = host.manager();
  await makeOutside();
  const [a, b] = [request('a', 'red', { exposedPorts: ['8080/tcp'] }), request('b', 'red')];
  const c = request('c', 'blue', { exposedPorts: ['9000'], quotas: { downloadSpeed: 10_000, uploadSpeed: 5000 } });
  await manager.adopt([], signal);
  const outcomes = await manager.start([a, b, c, request('refused', 'red'), request('broken', 'red')], signal);
  result.outcomes = Object.fromEntries(
    [a, b, c].map(({ info }) => [info.ident.itemId, outcomes.get(instanceId(info.ident))]),
  );
  result.errors = ['refused', 'broken'].map((itemId) => {
    const outcome = outcomes.get(instanceId(request(itemId, 'red').info.ident));
    return outcome instanceof AosError ? outcome.code : outcome;
  });
  result.links = (await links()).sort();
  const ids = { a: idOf(a), b: idOf(b), c: idOf(c) };
  const stops = await Promise.all([
    ...[8080, 8081].map((port) => serve(ids.a, port)),
    ...[9000, 9001].map((port) => serve(ids.c, port)),
    serve(OUTSIDE.netns, 80),
  ]);
  const [ipA, ipC] = [host.ip('a'), host.ip('c')];
  result.inside = [await connects(ids.b, ipA, 8080), await connects(ids.b, ipA, 8081)];
  result.across = [await connects(ids.b, ipC, 9000, 'no'), await connects(ids.c, ipA, 8080, 'no')];
  result.fromOutside = [
    await connects(OUTSIDE.netns, ipA, 8080),
    await connects(OUTSIDE.netns, ipA, 8081, 'no'),
    await connects(OUTSIDE.netns, ipC, 9000),
    await connects(OUTSIDE.netns, ipC, 9001, 'no'),
  ];
  result.toOutside = [await connects(ids.a, OUTSIDE.ip, 80), await connects(ids.c, OUTSIDE.ip, 80)];
  const ipv6 = await resolve(ids.b, '172.17.0.1', 'a', 'AAAA');
  result.ipv6 = [ipv6, await connects(ids.b, ipv6, 8081), await connects(ids.c, ipv6, 8081, 'no')];

  const rule = { dstIp: ipC, dstPort: '9000', proto: 'tcp', srcIp: '' };
  await manager.update({ ident: b.info.ident, firewallRules: [rule] }, signal);
  result.allowed = [
    await connects(ids.b, ipC, 9000),
    await connects(ids.a, ipC, 9000, 'no'),
    await connects(ids.b, ipC, 9001, 'no'),
  ];

  const serverPid = async () => readFileSync(join(host.directory, 'dns', 'red', 'pidfile'), 'utf8');
  const pidBefore = await serverPid();
  result.names = {
    host: await resolve(ids.b, '172.17.0.1', 'a'),
    long: await resolve(ids.b, '172.17.0.1', '0.s.a'),
    withNetwork: await resolve(ids.b, '172.17.0.1', 's.a.red'),
    // Not forwarded: what has one kind of address has no other one.
    otherKind: await resolve(ids.c, '172.18.0.1', '_dmarc.c', 'AAAA'),
    ofAnotherOwner: await resolve(ids.b, '172.17.0.1', 'c'),
    ofTheWorld: await resolve(ids.b, '172.17.0.1', 'example.org'),
  };
  const added = request('added', 'red');
  await manager.start([added], signal);
  // The server reads its files again some moments after it was told to.
  const answered = async (accept: (answer: string) => boolean) => {
    let answer = '';
    for (let tries = 0; tries < 100 && !accept(answer); tries += 1) {
      if (tries > 0) await sleep(50);
      answer = await resolve(ids.b, '172.17.0.1', 'added');
    }
    return answer;
  };
  const found = await answered((answer) => answer.startsWith('172.17.0.'));
  await manager.stop([idOf(added)], signal);
  await manager.release([added.info.ident], signal);
  result.reloaded = {
    isFound: found.startsWith('172.17.0.'),
    afterwards: await answered((answer) => answer.startsWith('E')),
    isSameServer: (await serverPid()) === pidBefore,
  };
  const twin = request('twin', 'red', { hostname: 'a' });
  const refusedName = (await manager.start([twin], signal)).get(idOf(twin));
  result.takenName = refusedName instanceof AosError ? [refusedName.code, refusedName.message] : 'started';
  await manager.release([twin.info.ident], signal);
  const { stdout: shaping } = await run('tc', ['qdisc', 'show']);
  result.shaped = [/tbf .*rate 10Mbit/.test(shaping), /tbf .*rate 5Mbit/.test(shaping)];
  // More than a bucket at once waits for its turn: the kernel counts it.
  await connects(ids.c, OUTSIDE.ip, 80, 'yes', 300_000);
  await connects(OUTSIDE.netns, ipC, 9000, 'yes', 300_000);
  result.slowedDown = (await shapers()).map(({ dev, overlimits }) => [dev.slice(0, 3), overlimits > 0]);
  const listing = async () => (await run('nft', ['-s', 'list', 'ruleset'])).stdout;
  const before = await listing();

  const finish = await hold(ids.b, ipC, 9000);
  // Another service manager takes over what runs, and touches nothing of it.
  const second = host.manager();
  await second.adopt([a, b, c], signal);
  result.untouched = (await listing()) === before;
  result.connectionStands = await finish();
  result.stillConnects = await connects(ids.b, ipC, 9000);
  const again = await second.start([a], signal);
  result.startAgain = !(again.get(idOf(a)) instanceof AosError);
  await second.sync(signal);

  // Somebody takes the firewall away and ends a name server: the next look makes both good.
  const firewall = async () => (await run('nft', ['-s', 'list', 'table', 'inet', 'aos'])).stdout;
  // Maps and chains come in any order.
  const wordsOf = (text: string) => text.split(/[\s{},]+/).sort();
  const wordsBefore = wordsOf(await firewall());
  const server = identifyProcess(Number(await serverPid()))!;
  await run('nft', ['delete', 'table', 'inet', 'aos']);
  process.kill(server.pid, 'SIGKILL');
  while (isRunning(server)) await sleep(20);
  await second.check(signal);
  result.firewallAgain = [wordsOf(await firewall()), wordsBefore];
  result.closedAgain = [await connects(ids.b, ipC, 9000), await connects(ids.a, ipC, 9000, 'no')];
  result.namesAgain = await resolve(ids.b, '172.17.0.1', 'a');

  // One whose namespace is gone is made anew, one that nobody claims is removed.
  await run('ip', ['netns', 'delete', idOf(a)]);
  const third = host.manager();
  await third.adopt([a, c], signal);
  result.namespacesAfterLoss = (await new HostNetworkNamespaces().list()).length;
  await third.start([a], signal);
  result.namespacesAfterStart = (await new HostNetworkNamespaces().list()).length;
  for (const stop of stops) stop();

  host.cm.loseDatabase();
  const late = request('late', 'red');
  const lateOutcome = await third.start([late], signal);
  result.late = !(lateOutcome.get(idOf(late)) instanceof AosError);

  await third.stop(
    [a, b, c, late].map(({ info }) => instanceId(info.ident)),
    signal,
  );
  await third.release(
    [a, b, c, late].map(({ info }) => info.ident),
    signal,
  );
  result.linksAfter = await links();
  result.namespacesAfter = await new HostNetworkNamespaces().list();
  result.chainsAfter = (await listing()).match(/^\tchain \w+/gm);
  result.masqueradesAfter = /masquerade/.test(await listing());
  await third.withdraw(signal);
  result.listingWithdrawn = await listing();
  result.cm = host.cm.log;
  result.serversAfter = await new HostNameServers().list(join(host.directory, 'dns'));
  host.remove();
  return result;
}

if (import.meta.main) console.log(JSON.stringify(await story()));
