/**
 * What every runtime of services promises its node, whatever it runs them in (`Runtime` of the launcher, docs/runtimes.md).
 * One suite for all: containers by crun, containers by runc, guests of a hypervisor, and whatever else comes.
 */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type AosError, instanceId } from '../../../core/index.ts';
import type { InstanceChange, Runtime } from '../../launcher/index.ts';
import type { InstalledItem, InstanceInfo, StartRequest } from '../../model.ts';

/** `lives` until it is ended, `falls` with exit code 3 some time after its start, `cannot start` at all. */
export type Behaviour = 'lives' | 'falls' | 'cannot start';

/** A runtime under test, with a host that outlives it. */
export interface RuntimeSubject {
  readonly runtime: Runtime;
  /** Told by it, and by those that were before it on this host. */
  readonly changes: readonly InstanceChange[];
  /** Waits until the changes so far fulfil a condition. */
  until(accept: (changes: readonly InstanceChange[]) => boolean): Promise<void>;
  /** An instance that nobody else knows. */
  info(): InstanceInfo;
  /** Of an item that behaves so; with a stop of a moment, and `startBurst` restarts after a moment each. */
  request(info: InstanceInfo, behaviour: Behaviour, startBurst?: number): StartRequest;
  /** Tells one run of an instance from the next; undefined: it does not run. */
  identity(id: string): string | undefined;
  /** The run ends without being asked. */
  end(id: string): void;
  /** The service manager is gone and another one begins, with a runtime that knows what is on the host alone. */
  reopen(): Promise<void>;
  /** The service manager is gone for now. */
  leave(): Promise<void>;
  /** Waits until no run of the instance is left. */
  untilEnded(id: string): Promise<void>;
  /** Everything of instances that is on the host, for people. */
  left(): Promise<readonly string[]>;
  close(): Promise<void>;
}

const patience = () => AbortSignal.timeout(60_000);

export function runtimeSuite(name: string, open: () => Promise<RuntimeSubject>): void {
  describe(`[SM-19] [SM-20] a runtime of ${name}`, () => {
    let subject: RuntimeSubject;
    beforeEach(async () => {
      subject = await open();
    });
    afterEach(() => subject.close());

    const start = async (behaviour: Behaviour, startBurst?: number) => {
      const info = subject.info();
      await subject.runtime.start(subject.request(info, behaviour, startBurst), patience());
      return { info, id: instanceId(info.ident) };
    };
    const told = (info: InstanceInfo) =>
      subject.changes
        .filter(({ ident }) => instanceId(ident) === instanceId(info.ident))
        .map(({ state, error }) => (error === undefined ? state : `${state}: ${error.message}`));
    const adopt = (known: readonly InstanceInfo[]) =>
      subject.runtime.adopt(known, new Map<string, InstalledItem>(), patience());

    test('starts an instance and stops it, tells each state, and leaves nothing', async () => {
      const { info, id } = await start('lives');
      expect(subject.identity(id)).toBeDefined();
      expect(subject.runtime.holds(id)).toBe(true);
      await subject.runtime.stop(id, patience());
      expect(told(info)).toEqual(['activating', 'active', 'inactive']);
      expect(subject.runtime.holds(id)).toBe(false);
      expect(subject.identity(id)).toBeUndefined();
      subject.runtime.forget(id);
      expect(await subject.left()).toEqual([]);
    });

    test('refuses to start what is active, and to stop what it does not know', async () => {
      const { info, id } = await start('lives');
      const before = subject.identity(id);
      const again = subject.runtime.start(subject.request(info, 'lives'), patience());
      await expect(again).rejects.toMatchObject({ code: 'alreadyExist' });
      expect(subject.identity(id)).toBe(before);
      await expect(subject.runtime.stop('nobody', patience())).rejects.toMatchObject({ code: 'notFound' });
    });

    test('what cannot start fails in words, is not held, and leaves nothing', async () => {
      const info = subject.info();
      const id = instanceId(info.ident);
      await expect(subject.runtime.start(subject.request(info, 'cannot start'), patience())).rejects.toThrow(/\w{4}/);
      expect(told(info)).toEqual(['activating', expect.stringMatching(/^failed: \w/)]);
      expect(subject.runtime.holds(id)).toBe(false);
      expect(await subject.left()).toEqual([]);
      await subject.runtime.start(subject.request(info, 'lives'), patience());
      expect(subject.identity(id)).toBeDefined();
    });

    test('what ends by itself is told with its exit code and started again', async () => {
      const { info, id } = await start('lives', 5);
      const before = subject.identity(id);
      subject.end(id);
      await subject.until(() => told(info).at(-1) === 'active' && told(info).length > 2);
      expect(told(info)).toEqual(['activating', 'active', expect.stringMatching(/^failed: \w/), 'active']);
      expect(subject.identity(id)).not.toBe(before);
      expect(subject.runtime.holds(id)).toBe(true);
    });

    test('what falls again and again is given up, is not held any more, and leaves nothing', async () => {
      const { info, id } = await start('falls', 1);
      await subject.until(() => !subject.runtime.holds(id));
      expect(told(info)).toEqual([
        'activating',
        'active',
        'failed: exit code 3',
        'active',
        expect.stringMatching(/^failed: gave up.*exit code 3$/),
      ]);
      expect(await subject.left()).toEqual([]);
      await subject.runtime.stop(id, patience());
      expect(told(info).at(-1)).toBe('inactive');
    });

    test('a stop while it starts leaves nothing', async () => {
      const info = subject.info();
      const outcome = subject.runtime
        .start(subject.request(info, 'lives'), patience())
        .catch((error: AosError) => error.code);
      await Promise.resolve();
      await subject.runtime.stop(instanceId(info.ident), patience());
      expect(await outcome).toBe('canceled');
      expect(await subject.left()).toEqual([]);
    });

    test('[SM-58] a service manager that comes back finds what runs, untouched', async () => {
      const { info, id } = await start('lives');
      const before = subject.identity(id);
      await subject.reopen();
      expect(await adopt([info])).toMatchObject([{ ident: info.ident, state: 'active' }]);
      expect(subject.identity(id)).toBe(before);
      expect(subject.runtime.holds(id)).toBe(true);
      await subject.runtime.stop(id, patience());
      expect(await subject.left()).toEqual([]);
    });

    test('[SM-58] what nobody claims, and what was to run otherwise, is removed', async () => {
      const [unclaimed, changed] = [await start('lives'), await start('lives')];
      await subject.reopen();
      expect(await adopt([{ ...changed.info, version: '2.0.0' }])).toEqual([]);
      expect([unclaimed, changed].map(({ id }) => subject.identity(id))).toEqual([undefined, undefined]);
      expect(await subject.left()).toEqual([]);
    });

    test('[SM-58] what ended meanwhile is told and started again', async () => {
      const { info, id } = await start('lives', 5);
      const before = subject.identity(id);
      await subject.leave();
      subject.end(id);
      await subject.untilEnded(id);
      await subject.reopen();
      await adopt([info]);
      await subject.until(() => told(info).at(-1) === 'active' && told(info).length > 2);
      expect(told(info).slice(2)).toEqual([expect.stringMatching(/^failed: \w/), 'active']);
      expect(subject.identity(id)).not.toBe(before);
    });

    test('ten at once do not wait for each other, and one that fails fails alone', async () => {
      const infos = Array.from({ length: 10 }, () => subject.info());
      const outcomes = await Promise.allSettled(
        infos.map((info, index) => {
          return subject.runtime.start(subject.request(info, index === 4 ? 'cannot start' : 'lives'), patience());
        }),
      );
      expect(outcomes.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([4]);
      await Promise.all(infos.map(({ ident }) => subject.runtime.stop(instanceId(ident), patience())));
      expect(await subject.left()).toEqual([]);
    });
  });
}
