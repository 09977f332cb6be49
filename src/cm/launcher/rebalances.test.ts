import { expect, test, vi } from 'vitest';
import { AosError, type Clock, silentLogger, systemClock } from '../../core/index.ts';
import { Rebalances } from './rebalances.ts';

/** Sleeps end when a test says so. */
function testClock() {
  const sleepers: (() => void)[] = [];
  const clock: Clock = {
    ...systemClock,
    sleep: (_, signal) =>
      new Promise((resolve, reject) => {
        sleepers.push(resolve);
        signal.addEventListener('abort', () => reject(new AosError('canceled', 'no more')), { once: true });
      }),
  };
  return { clock, sleepers };
}

test('[R-02] [CM-76] a round that fails is made again a little later, for all that it should have served', async () => {
  const { clock, sleepers } = testClock();
  const run = vi.fn(async () => rebalances.clear());
  run.mockImplementationOnce(async () => {
    rebalances.clear();
    throw new AosError('noMemory', 'not enough space');
  });
  const rebalances = new Rebalances({ run, clock, logger: silentLogger });
  rebalances.start();
  rebalances.request('node n2 is error, it was provisioned');
  await vi.waitFor(() => expect(sleepers).toHaveLength(1));
  expect([run.mock.calls.length, rebalances.isDue]).toEqual([1, false]);
  sleepers[0]!();
  await vi.waitFor(() => expect(run).toHaveBeenCalledTimes(2));
  await rebalances.stop();
});

test('[CM-76] a launch that did not come about leaves to do what was due before it', async () => {
  const { clock } = testClock();
  const run = vi.fn(async () => rebalances.clear());
  const rebalances = new Rebalances({ run, clock, logger: silentLogger });
  rebalances.request('node n2 is error, it was provisioned');
  rebalances.start();
  await vi.waitFor(() => expect(run).toHaveBeenCalledTimes(1));
  const launch = rebalances.aside(async () => {
    rebalances.request('node n3 is error, it was provisioned');
    rebalances.clear();
    throw new AosError('canceled', 'a newer desired status came');
  });
  await expect(launch).rejects.toMatchObject({ code: 'canceled' });
  await vi.waitFor(() => expect(run).toHaveBeenCalledTimes(2));
  await rebalances.stop();
});
