import { describe, expect, test, vi } from 'vitest';
import { AosError, ERROR_CODES, type InstanceIdent, instanceId } from '../../core/index.ts';
import type { ItemConfig } from '../../oci/index.ts';
import { anInstance, Host, RUNTIME_ID, started, states, update } from './instances-for-tests.ts';
import { Launcher } from './launcher.ts';

const { signal } = new AbortController();

describe('a request of the CM', () => {
  test('[SM-03] [SM-04] stops come first, then starts; the answer lists every instance of the node', async () => {
    const host = new Host();
    const launcher = await started(host);
    const [a, b, c] = [anInstance('a'), anInstance('b'), anInstance('c')];
    expect(states(await update(launcher, [a, b]))).toEqual({ a: 'active', b: 'active' });
    host.log.length = 0;
    expect(states(await update(launcher, [b, c], [a]))).toEqual({ b: 'active', c: 'active' });
    expect(host.log).toEqual(['stop a 1.0.0', 'start c 1.0.0']);
  });

  test('[SM-59] a paused node stops all that the CM names, and starts it again when it is resumed', async () => {
    const host = new Host();
    const launcher = await started(host);
    const all = [anInstance('a'), anInstance('b')];
    await update(launcher, all);
    expect(await update(launcher, [], all)).toEqual([]);
    expect(host.running()).toEqual([]);
    expect(states(await update(launcher, all))).toEqual({ a: 'active', b: 'active' });
  });

  test('[SM-60] a reboot waits until nothing launches, and several requests are one', async () => {
    const host = new Host();
    const launcher = await started(host);
    let open!: () => void;
    host.gate = new Promise((resolve) => {
      open = resolve;
    });
    const first = update(launcher, [anInstance('a')]);
    launcher.requestReboot('the boot image is new');
    const second = update(launcher, [anInstance('b')]);
    launcher.requestReboot('the root file system is new');
    open();
    await Promise.all([first, second]);
    await launcher.settled(5000, signal);
    expect(host.log).toEqual(['start a 1.0.0', 'start b 1.0.0', 'reboot']);
    expect(host.reboots).toEqual([['the boot image is new', 'the root file system is new']]);
  });

  test('[SM-20] instances go to the runtime that they name, whatever it is', async () => {
    const host = new Host();
    const launcher = await started(host);
    await update(launcher, [anInstance('guest', { runtimeId: RUNTIME_ID }), anInstance('lost', { runtimeId: 'xrun' })]);
    expect(host.running()).toEqual(['guest 1.0.0']);
    expect(launcher.board.get(anInstance('lost').ident)?.status.error).toMatchObject({ aosCode: ERROR_CODES.notFound });
  });

  test('what is remembered of an instance goes when it is gone for good, not when it is changed', async () => {
    const host = new Host();
    const launcher = await started(host);
    const [a, b] = [anInstance('a'), anInstance('b')];
    await update(launcher, [a, b]);
    await update(launcher, [{ ...a, version: '2.0.0' }], [b]);
    expect(host.forgotten).toEqual([instanceId(b.ident)]);
  });

  test('[P-03] a failure is told with all its words beside the short text of its error, and only then', async () => {
    const host = new Host();
    const launcher = await started(host);
    const words = `device /dev/radar is not on this node, ${'and so on '.repeat(10)}`;
    host.failing.set('start a', new AosError('notFound', words));
    const [a] = await update(launcher, [anInstance('a')]);
    expect(a).toMatchObject({ state: 'failed', error: { message: words.slice(0, 63) }, reason: words });
    host.failing.clear();
    const [again] = await update(launcher, [anInstance('a')]);
    expect(again).toMatchObject({ state: 'active' });
    expect(again).not.toHaveProperty('reason');
  });

  test('an unchanged instance is not touched, a changed one is restarted', async () => {
    const host = new Host();
    const launcher = await started(host);
    const [a, b] = [anInstance('a'), anInstance('b')];
    await update(launcher, [a, b]);
    host.log.length = 0;
    await update(launcher, [a, { ...b, version: '2.0.0' }]);
    expect(host.log).toEqual(['stop b 1.0.0', 'start b 2.0.0']);
    expect(host.removedItems).toEqual(['b 1.0.0']);
  });

  test('[SM-09] an image that nobody uses may go, also one whose instance never ran, or ran before the last kill', async () => {
    const host = new Host();
    host.installed.set('left 1.0.0', { itemId: 'left', version: '1.0.0' });
    const launcher = await started(host);
    const [a, b] = [anInstance('a'), anInstance('b')];
    host.failing.set('network a', new AosError('failed', 'no address is left'));
    expect(states(await update(launcher, [a, b]))).toEqual({ a: 'failed', b: 'active' });
    expect(host.removedItems).toEqual(['left 1.0.0']);
    await update(launcher, [b], [a]);
    expect(host.removedItems).toEqual(['left 1.0.0', 'a 1.0.0']);
  });

  test('[SM-09] an instance that another manifest of the same version describes does not lose its image', async () => {
    const host = new Host();
    const launcher = await started(host);
    await update(launcher, [anInstance('a')]);
    await update(launcher, [anInstance('a', { manifestDigest: 'sha256:other' })]);
    expect(host.removedItems).toEqual([]);
  });

  test('[R-02] on a full disk new instances fail with the reason, those that run stay, and later it goes on', async () => {
    const host = new Host();
    const parts = host.parts();
    const launcher = new Launcher(parts);
    launcher.start();
    const [a, b, c] = [anInstance('a'), anInstance('b'), anInstance('c')];
    await update(launcher, [a]);
    const full = () => {
      throw new AosError('noMemory', 'not enough space');
    };
    const spoilt = vi.spyOn(parts.rows, 'launching').mockImplementation(full);
    expect(await update(launcher, [a, b])).toMatchObject([
      { state: 'active' },
      { ident: b.ident, state: 'failed', error: { aosCode: ERROR_CODES.noMemory, message: 'not enough space' } },
    ]);
    expect(host.networksStopped).toEqual([instanceId(b.ident)]);
    vi.spyOn(parts.rows, 'intend').mockImplementationOnce(full);
    expect(states(await update(launcher, [a, b, c]))).toEqual({ a: 'active', b: 'failed', c: 'failed' });
    spoilt.mockRestore();
    expect(states(await update(launcher, [a, b, c]))).toEqual({ a: 'active', b: 'active', c: 'active' });
  });

  test('a changed instance runs on until its new image is here', async () => {
    const host = new Host();
    const launcher = await started(host);
    await update(launcher, [anInstance('a')]);
    let open!: () => void;
    host.gate = new Promise((resolve) => {
      open = resolve;
    });
    const done = update(launcher, [anInstance('a', { version: '2.0.0' })]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(host.running()).toEqual(['a 1.0.0']);
    open();
    await done;
    expect(host.running()).toEqual(['a 2.0.0']);
  });

  test('an instance in neither list is left alone', async () => {
    const host = new Host();
    const launcher = await started(host);
    await update(launcher, [anInstance('a')]);
    expect(states(await update(launcher, [anInstance('b')]))).toEqual({ a: 'active', b: 'active' });
  });

  test('requests that come while one is carried out wait, and each is answered in order', async () => {
    const host = new Host();
    const launcher = await started(host);
    const answers: string[] = [];
    await Promise.all(
      ['a', 'b', 'c'].map(async (item) => {
        const statuses = await update(launcher, [anInstance(item)]);
        answers.push(statuses.map(({ ident }) => ident.itemId).join());
      }),
    );
    expect(answers).toEqual(['a', 'a,b', 'a,b,c']);
  });

  test.each(['install', 'network', 'start'])(
    'a failure of its %s fails one instance with that error, not the others',
    async (what) => {
      const host = new Host();
      const launcher = await started(host);
      host.failing.set(`${what} a`, new AosError('notFound', 'something is missing'));
      const statuses = await update(launcher, [anInstance('a'), anInstance('b')]);
      expect(states(statuses)).toEqual({ a: 'failed', b: 'active' });
      expect(statuses[0]!.error).toEqual({
        aosCode: ERROR_CODES.notFound,
        exitCode: 0,
        message: 'something is missing',
      });
      host.failing.clear();
      expect(states(await update(launcher, [anInstance('a'), anInstance('b')]))).toEqual({ a: 'active', b: 'active' });
      expect(host.log.filter((line) => line.includes('b'))).toEqual(['start b 1.0.0']);
    },
  );

  test('an instance whose stop fails is reported failed and is stopped when the CM is there again', async () => {
    const host = new Host();
    const launcher = await started(host);
    await update(launcher, [anInstance('a')]);
    host.failing.set('stop a', new AosError('timeout', 'it does not end'));
    expect(states(await update(launcher, [], [anInstance('a')]))).toEqual({ a: 'failed' });
    host.failing.clear();
    launcher.retryRemovals();
    await launcher.settled(5000, signal);
    expect(host.running()).toEqual([]);
    expect(launcher.board.statuses()).toEqual([]);
    expect(host.rows().all()).toEqual([]);
  });

  test('[SM-19] what its runtime could not remove, and yet is gone, keeps neither network nor secret nor its successor', async () => {
    const host = new Host();
    const itemConfig = { permissions: { kuksa: { speed: 'r' } } } as unknown as ItemConfig;
    host.items.set('a', { itemConfig } as never);
    const launcher = await started(host);
    const first = anInstance('a');
    const id = instanceId(first.ident);
    await update(launcher, [first]);
    const heard: string[] = [];
    launcher.board.onChange(({ status: { state, error } }) => heard.push(`${state} ${error?.message}`));
    host.failing.set('remove a', new AosError('timeout', 'crun did not end within 10 s'));
    expect(states(await update(launcher, [anInstance('a', { version: '2.0.0' })]))).toEqual({ a: 'active' });
    expect(heard[0]).toBe('failed crun did not end within 10 s');
    expect(host.networksStopped).toEqual([id]);

    expect(states(await update(launcher, [], [first]))).toEqual({});
    expect(host.networksStopped).toEqual([id, id]);
    expect(host.secrets.size).toBe(0);
    expect(host.rows().all()).toEqual([]);
  });

  test('[SM-33] what cannot start fails with its reason and loses its network; the others keep theirs', async () => {
    const host = new Host();
    const heard: string[] = [];
    const onStartFailed = ({ itemId }: InstanceIdent, { message }: AosError) => heard.push(`${itemId}: ${message}`);
    const launcher = new Launcher({ ...host.parts(), onStartFailed });
    launcher.start();
    await launcher.settled(5000, signal);
    const [good, bad, lost] = [anInstance('good'), anInstance('bad'), anInstance('lost')];
    host.failing.set('start bad', new AosError('runtime', 'crun cannot start the container: no such file'));
    host.failing.set('network lost', new AosError('notFound', 'this node has no resource "radar"'));
    const statuses = await update(launcher, [good, bad, lost]);
    expect(states(statuses)).toEqual({ good: 'active', bad: 'failed', lost: 'failed' });
    expect(statuses.find(({ ident }) => ident.itemId === 'bad')?.error?.message).toContain('no such file');
    expect(host.networksStopped).toEqual([bad, lost].map(({ ident }) => instanceId(ident)));
    expect(heard.sort()).toEqual([
      'bad: crun cannot start the container: no such file',
      'lost: this node has no resource "radar"',
    ]);
    host.failing.clear();
    expect(states(await update(launcher, [good, bad, lost]))).toEqual({
      good: 'active',
      bad: 'active',
      lost: 'active',
    });
    expect(heard).toHaveLength(2);
  });

  test('what its runtime gives up loses its network, what it starts again keeps it', async () => {
    const host = new Host();
    const launcher = await started(host);
    const [falls, gone] = [anInstance('falls'), anInstance('gone')];
    await update(launcher, [falls, gone]);
    host.tell({ ident: falls.ident, state: 'failed', because: 'it ended and is started again' });
    host.containers.delete(instanceId(gone.ident));
    host.tell({ ident: gone.ident, state: 'failed', because: 'it was given up' });
    await launcher.settled(5000, signal);
    expect(host.networksStopped).toEqual([instanceId(gone.ident)]);
  });

  test('a network that could not be given back is given back at the next start', async () => {
    const host = new Host();
    const launcher = await started(host);
    await update(launcher, [anInstance('a')]);
    host.failing.set('release a', new AosError('failed', 'no connection'));
    expect(await update(launcher, [], [anInstance('a')])).toEqual([]);
    host.failing.clear();
    await started(host);
    expect(host.released).toEqual(['a']);
    expect(host.rows().all()).toEqual([]);
  });

  test('a component for a runtime of services, and a runtime that is not here, are refused with their code', async () => {
    const launcher = await started(new Host());
    const component = anInstance('c');
    const statuses = await update(launcher, [
      { ...component, ident: { ...component.ident, type: 'component' } },
      anInstance('u', { runtimeId: 'unknown' }),
    ]);
    expect(statuses.map(({ state, error }) => [state, error?.aosCode])).toEqual([
      ['failed', ERROR_CODES.notSupported],
      ['failed', ERROR_CODES.notFound],
    ]);
  });

  test('of two idents with one instance id the second is refused', async () => {
    const host = new Host();
    const launcher = await started(host);
    const a = anInstance('a');
    const twin = { ...a, ident: { ...a.ident, preinstalled: true } };
    const statuses = await update(launcher, [a, twin]);
    expect(statuses.map(({ ident, state, error }) => [ident.preinstalled, state, error?.aosCode]).sort()).toEqual([
      [false, 'active', undefined],
      [true, 'failed', ERROR_CODES.alreadyExist],
    ]);
    expect(await update(launcher, [a])).toHaveLength(1);
  });

  test('[SM-42] permissions are registered before the start and withdrawn after the stop', async () => {
    const host = new Host();
    const launcher = await started(host);
    const itemConfig = { permissions: { kuksa: { speed: 'r' } } } as unknown as ItemConfig;
    host.items.set('a', { itemConfig } as never);
    await update(launcher, [anInstance('a'), anInstance('b')]);
    expect([...host.secrets.values()]).toEqual(['secret of a']);
    await update(launcher, [], [anInstance('a')]);
    expect([...host.secrets.values()]).toEqual([]);
  });
});
