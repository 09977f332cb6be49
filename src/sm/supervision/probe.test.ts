import { describe, expect, test } from 'vitest';
import { AosError, type Clock } from '../../core/index.ts';
import { readProbes, waitUntilDead, waitUntilReady } from './probe.ts';

/** Time that passes only in sleeps. */
class FakeClock implements Clock {
  #nowMs = 0;
  readonly sleeps: number[] = [];

  monotonicMs() {
    return this.#nowMs;
  }

  now() {
    return new Date(this.#nowMs);
  }

  async sleep(durationMs: number, signal: AbortSignal) {
    if (signal.aborted) throw new AosError('canceled', 'stopped');
    this.#nowMs += durationMs;
    this.sleeps.push(durationMs);
  }
}

const unending = () => new AbortController().signal;

describe('configuration', () => {
  test('[P-19] a probe is a command, a connection or a request, with defaults', () => {
    const times = { intervalMs: 1000, timeoutMs: 1000, startTimeoutMs: 60_000 };
    expect(readProbes({ start: { exec: ['/bin/check'] } }).start).toEqual({ way: { exec: ['/bin/check'] }, ...times });
    expect(readProbes({ start: { tcp: { port: 80 } } }).start).toEqual({ way: { tcp: { port: 80 } }, ...times });
    const http = { start: { http: { port: 80 }, interval: '2s', timeout: '500ms', startTimeout: 'PT10S' } };
    expect(readProbes(http).start).toEqual({
      way: { http: { port: 80, path: '/' } },
      intervalMs: 2000,
      timeoutMs: 500,
      startTimeoutMs: 10_000,
    });
  });

  test('there may be none', () => {
    expect([readProbes(undefined), readProbes(null), readProbes({})]).toEqual([{}, {}, {}]);
  });

  test.each([
    [{ live: {} }, 'expected exactly one of exec, tcp and http'],
    [{ live: { exec: ['x'], failures: 0 } }, 'expected at least 1'],
    [{ start: {} }, 'expected exactly one of exec, tcp and http'],
    [{ start: { tcp: { port: 80 }, http: { port: 80 } } }, 'expected exactly one of exec, tcp and http'],
    [{ start: { tcp: { port: 0 } } }, 'expected a port'],
    [{ start: { exec: [] } }, 'expected a command'],
    [{ start: { exec: ['x'], interval: '0s' } }, 'expected a duration of more than 0'],
    [{ start: { exec: ['x'], interval: 'soon' } }, 'invalid duration string'],
  ])('%j is refused: %s', (probes, words) => {
    expect(() => readProbes(probes)).toThrow(words);
  });
});

describe('waiting', () => {
  const probe = readProbes({ start: { exec: ['x'], interval: '1s', startTimeout: '3s' } }).start!;

  test('[P-19] it goes on until a try succeeds', async () => {
    const clock = new FakeClock();
    let tries = 0;
    const once = async () => {
      tries += 1;
      if (tries < 3) throw new AosError('failed', 'not yet');
    };
    await waitUntilReady(probe, once, clock, unending());
    expect([tries, clock.sleeps]).toEqual([3, [1000, 1000]]);
  });

  test('[P-19] it ends with the last finding when the time is over', async () => {
    const once = async () => {
      throw new AosError('failed', 'connect ECONNREFUSED');
    };
    await expect(waitUntilReady(probe, once, new FakeClock(), unending())).rejects.toMatchObject({
      code: 'timeout',
      message: 'start probe failed: connect ECONNREFUSED',
    });
  });

  test('it ends at once when nobody wants it any more', async () => {
    const end = new AbortController();
    const once = async () => {
      end.abort();
      throw new AosError('failed', 'no');
    };
    await expect(waitUntilReady(probe, once, new FakeClock(), end.signal)).rejects.toMatchObject({ code: 'canceled' });
  });
});

describe('watching', () => {
  const { live } = readProbes({ live: { exec: ['x'], interval: '10s', failures: 2 } });

  test('[P-19] an instance is dead after so many failures in a row, not before', async () => {
    const clock = new FakeClock();
    const answers = [false, true, false, false, true];
    const tries: number[] = [];
    const once = async () => {
      tries.push(clock.monotonicMs());
      if (!answers[tries.length - 1]) throw new AosError('failed', `try ${tries.length}`);
    };
    expect(await waitUntilDead(live!, once, clock, unending())).toBe('try 4');
    expect(clock.sleeps).toEqual([10_000, 10_000, 10_000, 10_000]);
  });

  test('it ends at once when nobody wants it any more', async () => {
    const abort = new AbortController();
    const once = async () => abort.abort();
    await expect(waitUntilDead(live!, once, new FakeClock(), abort.signal)).rejects.toThrow();
  });
});
