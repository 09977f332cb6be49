import { expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { PeerSession } from './peer-session.ts';

test('programs that ask for the link while it is away leave nothing behind when they have given up', async () => {
  const session = new PeerSession({ proxyAddress: 'proxy:30001', logger: silentLogger });
  const tries = [1, 2, 3].map(() => session.connection(new AbortController().signal, 1));
  expect(session.waiting).toBe(3);
  for (const one of tries) await expect(one).rejects.toThrow('no connection to the proxy at proxy:30001');
  expect(session.waiting).toBe(0);
});
