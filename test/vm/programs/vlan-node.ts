/**
 * Runs inside of a machine: one node of a unit with an instance of each of two owners, by the network manager of the SM.
 * Writes the addresses and namespaces of its instances to a file, and takes everything away when it is told to stop.
 * Arguments: number of the node, the file.
 */
import { once } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { idOf, NetworkHost, outcomeOf, request } from '../../../src/sm/network/for-tests/network-host.ts';

export interface VlanNode {
  /** By owner: network namespace and address of its instance. */
  readonly instances: Readonly<Record<string, { readonly netns: string; readonly ip: string }>>;
  readonly outcomes: readonly string[];
}

const OWNERS = { red: { net: '172.17', vlanId: 7 }, blue: { net: '172.18', vlanId: 8 } } as const;
type Owner = keyof typeof OWNERS;

const [number = '', file = ''] = process.argv.slice(2);
const { signal } = new AbortController();
const host = new NetworkHost();
const netOf = (owner: string) => OWNERS[owner as Owner].net;
// What a CM tells two nodes of one unit: the same subnet and VLAN, addresses of their own.
const cm = {
  nodeNetwork: async (owner: string) => ({
    subnet: `${netOf(owner)}.0.0/16`,
    ip: `${netOf(owner)}.${number}.1`,
    vlanId: OWNERS[owner as Owner].vlanId,
  }),
  allocate: async (_: unknown, owner: string) => ({
    ...{ subnet: `${netOf(owner)}.0.0/16`, ip: `${netOf(owner)}.${number}.2` },
    ...{ dnsServers: [], firewallRules: [] },
  }),
  releaseInstance: async () => undefined,
  releaseNode: async () => undefined,
  syncNetworks: async () => undefined,
  async *firewallUpdates() {
    yield* [];
  },
};
const manager = host.manager({ cm, vlan: 'required' });
const wanted = Object.keys(OWNERS).map((owner) => request(`${owner}-${number}`, owner));

await manager.adopt([], signal);
const outcomes = await manager.start(wanted, signal);
const instances = Object.fromEntries(
  wanted.map((each) => [each.info.ownerId, { netns: idOf(each), ip: host.ip(each.info.ident.itemId) }]),
);
const node: VlanNode = { instances, outcomes: wanted.map((each) => outcomeOf(outcomes, each)) };
writeFileSync(`${file}.new`, JSON.stringify(node));
renameSync(`${file}.new`, file);

const alive = setInterval(() => undefined, 60_000);
await once(process, 'SIGTERM');
clearInterval(alive);
await manager.stop(wanted.map(idOf), signal);
await manager.release(
  wanted.map(({ info }) => info.ident),
  signal,
);
await manager.withdraw(signal);
host.remove();
