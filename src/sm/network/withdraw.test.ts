import { expect, test } from 'vitest';
import type { Nft } from '../../platform/nft/index.ts';
import { Firewall } from './firewall.ts';
import type { Traffic } from './traffic.ts';

const { signal } = new AbortController();

const rule = (chain: string, handle: number, expr: readonly object[] = [{ drop: null }]) => ({
  rule: { chain, handle, expr },
});
const established = { match: { left: { ct: { key: 'state' } }, right: ['established', 'related'] } };
const lookup = (map: string) => ({ vmap: { key: {}, data: `@${map}` } });
const BASE = [
  ...['forward', 'postrouting'].map((name) => ({ chain: { name } })),
  { set: { name: 'node_networks' } },
  ...['leaving', 'reaching'].map((name) => ({ map: { name } })),
  rule('forward', 1),
  rule('forward', 2, [established, { accept: null }]),
  rule('forward', 3, [lookup('leaving')]),
  rule('forward', 4, [lookup('reaching')]),
];
const OUR_MARK = { set: { name: 'made_by_the_service_manager' } };

/** Tables that are removed when the last instance has gone. */
async function removed(listing: readonly object[]): Promise<string[]> {
  const statements: string[] = [];
  const nft = {
    list: async (table: string) => (table === 'aos' ? { nftables: listing } : undefined),
    apply: async (lines: readonly string[]) => void statements.push(...lines),
  } as unknown as Nft;
  const traffic = { change: () => [] } as unknown as Traffic;
  await new Firewall({ nft, traffic, wanted: () => ({ instances: [], networks: [] }) }).withdraw(signal);
  return statements.filter((line) => line.startsWith('delete table'));
}

test('[SM-36] with the last instance both tables go, when they were made by us', async () => {
  expect(await removed([...BASE, OUR_MARK])).toEqual(['delete table inet aos', 'delete table inet aos-traffic']);
});

test('[SM-36] the base firewall of the node outlives the service manager', async () => {
  expect(await removed(BASE)).toEqual(['delete table inet aos-traffic']);
});

test.each([
  ['a rule of somebody for packets of his own', rule('forward', 8, [{ accept: null }])],
  ['a rule of somebody for addresses', rule('postrouting', 9, [{ accept: null }])],
  ['a chain of somebody', { chain: { name: 'mine' } }],
])('[SM-36] %s is not taken away with our table', async (_, entry) => {
  expect(await removed([...BASE, OUR_MARK, entry])).toEqual(['delete table inet aos-traffic']);
});
