import { expect, test } from 'vitest';
import { type Clock, systemClock } from '../../core/index.ts';
import type { InstanceStatus } from '../model.ts';
import { untilActive, type WatchedInstances } from './until-active.ts';

const status = (itemId: string, more: Partial<InstanceStatus> = {}): InstanceStatus => ({
  ident: { itemId, subjectId: 'subject', instance: 0, type: 'service', preinstalled: false },
  version: '1',
  nodeId: 'main',
  runtimeId: 'runc',
  manifestDigest: '',
  state: 'active',
  ...more,
});

class Instances implements WatchedInstances {
  list: readonly InstanceStatus[] = [status('stuck', { state: 'activating' }), status('busy')];
  listener: (changed: readonly InstanceStatus[]) => void = () => undefined;

  statuses = () => this.list;

  subscribe = (listener: Instances['listener']) => {
    this.listener = listener;
    return () => undefined;
  };

  change(changed: InstanceStatus): void {
    this.list = this.list.map((one) => (one.ident.itemId === changed.ident.itemId ? changed : one));
    this.listener([changed]);
  }
}

/** A clock whose sleeps a test ends. */
class Sleeps {
  readonly ends: (() => void)[] = [];
  readonly clock: Clock = {
    ...systemClock,
    sleep: (_, signal) =>
      new Promise((resolve, reject) => {
        this.ends.push(resolve);
        signal.addEventListener('abort', reject, { once: true });
      }),
  };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('[CM-22] an instance that writes its state does not hold up an update that makes no progress', async () => {
  const instances = new Instances();
  const { ends, clock } = new Sleeps();
  const waiting = untilActive(instances, 600_000, clock, new AbortController().signal);
  instances.change(status('busy', { stateChecksum: 'other' }));
  await turn();
  ends[0]!();
  await expect(waiting).rejects.toMatchObject({ code: 'timeout' });
});

test('[CM-22] an instance that comes to another state is progress', async () => {
  const instances = new Instances();
  const { ends, clock } = new Sleeps();
  const waiting = untilActive(instances, 600_000, clock, new AbortController().signal);
  instances.change(status('busy', { state: 'failed' }));
  await turn();
  expect(ends).toHaveLength(2);
  instances.change(status('stuck'));
  await waiting;
});
