import { afterEach, expect, test } from 'vitest';
import { AosError, type InstanceIdent, type Logger, silentLogger, systemClock } from '../../core/index.ts';
import type { FirewallUpdate } from '../client/index.ts';
import { NetworkLink } from './network-link.ts';
import type { NetworkManager } from './network-manager.ts';

let link: NetworkLink;
afterEach(() => link.stop());

const update = (itemId: string): FirewallUpdate => {
  const ident: InstanceIdent = { itemId, subjectId: 's', instance: 0, type: 'service', preinstalled: false };
  return { ident, firewallRules: [{ dstIp: '172.18.0.2', dstPort: '80', proto: 'tcp', srcIp: '' }] };
};

/** A CM whose subscription gives these one after the other; after each it ends. */
function open(subscriptions: FirewallUpdate[][]): { taken: string[]; warnings: string[]; asked: () => number } {
  const taken: string[] = [];
  const warnings: string[] = [];
  let asked = 0;
  const manager: Pick<NetworkManager, 'update' | 'check' | 'sync'> = {
    update: async ({ ident }) => {
      if (ident.itemId === 'bad') throw new AosError('invalidArgument', '"0/tcp" is not a port');
      taken.push(ident.itemId);
    },
    check: async () => undefined,
    sync: async () => {
      throw new AosError('timeout', 'the CM does not answer');
    },
  };
  link = new NetworkLink({
    manager: manager as NetworkManager,
    cm: {
      async *firewallUpdates() {
        asked += 1;
        yield* subscriptions.shift() ?? [];
      },
    },
    reconnectMs: 1,
    clock: systemClock,
    logger: { ...silentLogger, warn: (_: object, words: string) => warnings.push(words) } as unknown as Logger,
  });
  link.start();
  return { taken, warnings, asked: () => asked };
}

test('[CM-100] rules that cannot be are told, and cost neither the rules after them nor the subscription', async () => {
  const { taken, warnings, asked } = open([[update('a'), update('bad'), update('b')], [update('c')]]);
  await expect.poll(() => taken, { timeout: 15_000 }).toEqual(['a', 'b', 'c']);
  expect(warnings).toEqual(['the rules of the CM for bad/s/0 were not taken: "0/tcp" is not a port']);
  await expect.poll(asked, { timeout: 15_000 }).toBeGreaterThan(2);
});

test('a CM that cannot be told of the networks is told with the next connection; nothing ends', async () => {
  const { warnings } = open([]);
  await link.sync();
  expect(warnings).toEqual(['the CM was not told of the networks: the CM does not answer']);
});
