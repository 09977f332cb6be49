import { constants } from 'node:os';
import { expect, test, vi } from 'vitest';
import { AosError, type Clock, silentLogger, systemClock } from '../../core/index.ts';
import type { CloudMessage } from '../../protocol/index.ts';
import { Inbox } from './inbox.ts';

const hurried: Clock = { ...systemClock, sleep: (_, signal) => systemClock.sleep(1, signal) };
const overrides = (name: string): CloudMessage => ({
  messageType: 'overrideEnvVars',
  items: [{ variables: [{ name, value: '' }] }],
});
const received = { txn: 'txn', refused: [] };

test('[R-02] what is acknowledged already is carried out as soon as a full disk has room, in its order', async () => {
  const inbox = new Inbox({ maxWaiting: 8, clock: hurried, logger: silentLogger });
  const done: string[] = [];
  let refusals = 3;
  inbox.handle('overrideEnvVars', ({ items }) => {
    refusals -= 1;
    if (refusals >= 0) throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', errno: -constants.errno.ENOSPC });
    done.push(items[0]!.variables[0]!.name);
  });
  for (const name of ['A', 'B']) expect(inbox.deliver(overrides(name), received)).toBe(true);
  await vi.waitFor(() => expect(done).toEqual(['A', 'B']));
  inbox.close();
});

test('what fails for another reason is not tried again, and an end does not wait for room', async () => {
  const clock: Clock = { ...hurried, sleep: systemClock.sleep };
  const inbox = new Inbox({ maxWaiting: 8, clock, logger: silentLogger });
  const failing = vi.fn();
  failing.mockRejectedValueOnce(new AosError('notFound', 'no such instance'));
  failing.mockRejectedValue(new AosError('noMemory', 'not enough space', { exitCode: constants.errno.ENOSPC }));
  inbox.handle('overrideEnvVars', failing);
  inbox.deliver(overrides('A'), received);
  inbox.deliver(overrides('B'), received);
  await vi.waitFor(() => expect(failing).toHaveBeenCalledTimes(2));
  inbox.close();
  expect(inbox.deliver(overrides('C'), received)).toBe(false);
});
