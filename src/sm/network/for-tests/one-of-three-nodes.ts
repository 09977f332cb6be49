/**
 * One node of `three-nodes.ts`, in network and mount namespaces of its own: an instance of each owner, by the network
 * manager of the SM. Takes numbered requests as lines of JSON and answers each by one, in
 * whatever order. Argument: number of the node.
 */
import { createInterface } from 'node:readline';
import { idOf, NetworkHost, outcomeOf, request } from './network-host.ts';
import { connects, run, serve } from './outside.ts';

export const PORT = 7000;

/** What a node says first. */
export interface ToldNode {
  readonly outcomes: readonly string[];
  /** By owner. */
  readonly instances: Readonly<Record<string, { readonly ip: string; readonly bridge: string }>>;
}

export type NodeRequest =
  /** The link to other nodes, which is here by now, belongs to the network of the owner. */
  | { readonly do: 'join'; readonly owner: string; readonly link: string }
  /** As the CM says later: the instance of an owner may reach an address. */
  | { readonly do: 'allow'; readonly owner: string; readonly ip: string }
  | { readonly do: 'connect'; readonly owner: string; readonly ip: string; readonly expected: 'yes' | 'no' };

const NETS: Readonly<Record<string, string>> = { red: '172.17', blue: '172.18' };

async function node(number: string): Promise<void> {
  const { signal } = new AbortController();
  const host = new NetworkHost();
  // What a CM tells the nodes of one unit: the same subnets, addresses of their own.
  const subnet = (owner: string) => `${NETS[owner]}.0.0/16`;
  const cm = {
    ...host.cm,
    nodeNetwork: async (owner: string) => ({ subnet: subnet(owner), ip: `${NETS[owner]}.${number}.1`, vlanId: 7 }),
    allocate: async (_: unknown, owner: string) => ({
      ...{ subnet: subnet(owner), ip: `${NETS[owner]}.${number}.2` },
      ...{ dnsServers: [], firewallRules: [] },
    }),
    releaseInstance: async () => undefined,
    releaseNode: async () => undefined,
    syncNetworks: async () => undefined,
    async *firewallUpdates() {
      yield* [];
    },
  };
  const manager = host.manager({ cm, vlan: 'off', names: 'off', withIpv6: false });
  const wanted = new Map(
    Object.keys(NETS).map((owner) => [owner, request(`${owner}-${number}`, owner, { exposedPorts: [`${PORT}/tcp`] })]),
  );
  await manager.adopt([], signal);
  const outcomes = await manager.start([...wanted.values()], signal);
  const stops = await Promise.all([...wanted.values()].map((each) => serve(idOf(each), PORT)));
  const told: ToldNode = {
    outcomes: [...wanted.values()].map((each) => outcomeOf(outcomes, each)),
    instances: Object.fromEntries(
      [...wanted].map(([owner, { info }]) => [owner, { ip: host.ip(info.ident.itemId), bridge: host.bridge(owner) }]),
    ),
  };
  console.log(JSON.stringify(told));

  const answer = async (asked: NodeRequest): Promise<unknown> => {
    const instance = wanted.get(asked.owner)!;
    switch (asked.do) {
      case 'join':
        await run('ip', ['link', 'set', asked.link, 'master', host.bridge(asked.owner), 'up']);
        return 'joined';
      case 'allow': {
        const rule = { dstIp: asked.ip, dstPort: `${PORT}`, proto: 'tcp', srcIp: '' };
        await manager.update({ ident: instance.info.ident, firewallRules: [rule] }, signal);
        return 'allowed';
      }
      case 'connect':
        return connects(idOf(instance), asked.ip, PORT, asked.expected);
    }
  };
  const answers: Promise<void>[] = [];
  for await (const line of createInterface({ input: process.stdin })) {
    const { id, ...asked } = JSON.parse(line) as NodeRequest & { readonly id: number };
    answers.push(answer(asked).then((value) => console.log(JSON.stringify({ id, value }))));
  }
  await Promise.all(answers);
  for (const stop of stops) stop();
  await manager.stop([...wanted.values()].map(idOf), signal);
  host.remove();
}

if (import.meta.main) await node(process.argv[2] ?? '');
