import { describe, expect, test } from 'vitest';
import { anInstance, Host, Mortal, started, states, update } from './instances-for-tests.ts';
import type { Launcher } from './launcher.ts';

const { signal } = new AbortController();

describe('states', () => {
  test('[SM-04] each change is told once, with the reason that a person reads', async () => {
    const host = new Host();
    const launcher = await started(host);
    const heard: string[] = [];
    launcher.board.onChange(({ status, because }) => heard.push(`${status.state}: ${because}`));
    await update(launcher, [anInstance('a')]);
    const change = { ident: anInstance('a').ident, because: 'exit code 3' };
    host.tell({ ...change, state: 'failed', error: { aosCode: 1, exitCode: 3, message: 'exit code 3' } });
    host.tell({ ...change, state: 'failed', error: { aosCode: 1, exitCode: 3, message: 'exit code 3' } });
    host.tell({ ...change, state: 'active', because: 'restarted' });
    expect(heard).toEqual([
      'activating: it is being started',
      'active: it was started',
      'failed: exit code 3',
      'active: restarted',
    ]);
    expect(launcher.board.statuses()[0]!.error).toBeUndefined();
  });
});

describe('start and stop of the service manager', () => {
  test('[SM-02] what ran before runs again from the database alone', async () => {
    const host = new Host();
    await update(await started(host), [anInstance('a'), anInstance('b')]);
    host.containers.clear();
    const launcher = await started(host);
    expect(host.running()).toEqual(['a 1.0.0', 'b 1.0.0']);
    expect(states(launcher.board.statuses())).toEqual({ a: 'active', b: 'active' });
  });

  test('[SM-58] containers that live are adopted, those that ended are started', async () => {
    const host = new Host();
    await update(await started(host), [anInstance('a'), anInstance('b')]);
    host.containers.delete([...host.containers.keys()][0]!);
    host.log.length = 0;
    await started(host);
    expect(host.log).toEqual(['start a 1.0.0']);
    expect(host.running()).toEqual(['a 1.0.0', 'b 1.0.0']);
  });

  test('[SM-58] an orderly stop stops the services, and they come back at the next start', async () => {
    const host = new Host();
    const launcher = await started(host);
    await update(launcher, [anInstance('a')]);
    await launcher.stop(true, signal);
    expect(host.running()).toEqual([]);
    await started(host);
    expect(host.running()).toEqual(['a 1.0.0']);
  });

  test('a stop for an upgrade leaves them running', async () => {
    const host = new Host();
    const launcher = await started(host);
    await update(launcher, [anInstance('a')]);
    await launcher.stop(false, signal);
    expect(host.running()).toEqual(['a 1.0.0']);
  });
});

describe('killed at any step', () => {
  const [a, b, c] = [anInstance('a'), anInstance('b'), anInstance('c')];
  const changed = { ...b, version: '2.0.0' };

  async function story(launcher: Launcher): Promise<void> {
    launcher.start();
    await update(launcher, [a, b]);
    await update(launcher, [changed, c], [a]);
  }

  test('[X-07] [SM-58] the next start brings the node to what its rows say, and the request to what it asks for', async () => {
    const counter = new Mortal();
    await story(new Host().launcher(counter));
    expect(counter.passages).toBeGreaterThan(30);

    for (let at = 1; at <= counter.passages; at += 1) {
      const host = new Host();
      const mortal = new Mortal(at);
      await Promise.race([story(host.launcher(mortal)), mortal.died]);

      const launcher = await started(host);
      const wanted = host
        .rows()
        .all()
        .filter(({ isWanted }) => isWanted);
      expect(host.running(), `killed at step ${at}`).toEqual(
        wanted.map(({ info }) => `${info.ident.itemId} ${info.version}`).sort(),
      );
      expect(
        host
          .rows()
          .all()
          .every(({ isWanted }) => isWanted),
        `killed at step ${at}`,
      ).toBe(true);

      expect(states(await update(launcher, [changed, c], [a])), `killed at step ${at}`).toEqual({
        b: 'active',
        c: 'active',
      });
      expect(host.running()).toEqual(['b 2.0.0', 'c 1.0.0']);
      // Nothing was started twice in a row, nothing stopped twice.
      for (const item of ['a', 'b', 'c']) {
        const kinds = host.log.filter((line) => line.includes(` ${item} `)).map((line) => line.split(' ')[0]);
        expect(kinds.every((kind, index) => kind === (index % 2 === 0 ? 'start' : 'stop'))).toBe(true);
      }
    }
  });
});
