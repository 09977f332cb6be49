import { describe, expect, test } from 'vitest';
import { systemClock } from '../../core/index.ts';
import { anInstance, Host, started, states, update } from './instances-for-tests.ts';
import type { Launcher } from './launcher.ts';

const { signal } = new AbortController();

describe('without the cloud', () => {
  const shortLived = { itemConfig: { offlineTtlMs: 1000, permissions: {} } } as never;

  async function offlineHost(): Promise<{ host: Host; launcher: Launcher }> {
    const host = new Host();
    host.items.set('short', shortLived);
    const launcher = await started(host);
    await update(launcher, [anInstance('short'), anInstance('long')]);
    return { host, launcher };
  }

  test('[SM-43] an instance whose offline TTL is over stops, the others run on, and it starts when the cloud is back', async () => {
    const { host, launcher } = await offlineHost();
    launcher.offline(systemClock.monotonicMs() - 1001);
    await launcher.settled(5000, signal);
    expect(host.running()).toEqual(['long 1.0.0']);
    expect(states(launcher.board.statuses())).toEqual({ short: 'inactive', long: 'active' });
    expect(launcher.board.get(anInstance('short').ident)?.because).toMatch(/offline TTL/);
    launcher.online();
    await launcher.settled(5000, signal);
    expect(host.running()).toEqual(['long 1.0.0', 'short 1.0.0']);
  });

  test('[SM-43] it stops when its time comes, without anything else happening', async () => {
    const { host, launcher } = await offlineHost();
    launcher.offline(systemClock.monotonicMs() - 900);
    expect(host.running()).toEqual(['long 1.0.0', 'short 1.0.0']);
    await expect.poll(() => host.running(), { timeout: 15_000 }).toEqual(['long 1.0.0']);
  });

  test('[SM-43] a request does not start it while the cloud is away', async () => {
    const { host, launcher } = await offlineHost();
    launcher.offline(systemClock.monotonicMs() - 1001);
    await launcher.settled(5000, signal);
    expect(states(await update(launcher, [anInstance('short'), anInstance('long')]))).toEqual({
      short: 'inactive',
      long: 'active',
    });
    expect(host.running()).toEqual(['long 1.0.0']);
    launcher.online();
    await launcher.settled(5000, signal);
    expect(host.running()).toEqual(['long 1.0.0', 'short 1.0.0']);
  });

  test('a cloud that comes back in time stops nothing', async () => {
    const { host, launcher } = await offlineHost();
    launcher.offline(systemClock.monotonicMs());
    launcher.online();
    await launcher.settled(5000, signal);
    expect(host.log).toHaveLength(2);
  });
});
