/** Probes of one run. */
import { describe, expect, test } from 'vitest';
import { AosError, silentLogger, systemClock } from '../../core/index.ts';
import type { LiveProbe, StartProbe } from '../supervision/index.ts';
import type { ContainerRun } from './container-run.ts';
import type { InstanceParts } from './instance-parts.ts';
import { endWhenDead, probeUntilReady } from './probe-run.ts';
import type { LaunchRecord } from './runtime-model.ts';

const PROBE = { way: { exec: ['true'] }, intervalMs: 1, timeoutMs: 10_000 };
const START: StartProbe = { ...PROBE, startTimeoutMs: 10_000 };
const LIVE: LiveProbe = { ...PROBE, failures: 2 };

function instanceWith(probes: Pick<LaunchRecord, 'probe' | 'live'>) {
  return { id: 'id', record: probes as LaunchRecord };
}

function partsWhere(probeOnce: () => Promise<void>, killed: string[] = []): InstanceParts {
  const cgroups = { kill: (path: string) => killed.push(path) };
  return { clock: systemClock, probeOnce, cgroups, logger: silentLogger } as unknown as InstanceParts;
}

const running = { ended: new Promise(() => undefined) } as unknown as ContainerRun;
const ended = { ended: Promise.resolve() } as unknown as ContainerRun;
const refuses = async () => {
  throw new AosError('failed', 'not yet');
};

describe('[P-19] probes of a run', () => {
  test('a start probe is tried until it succeeds', async () => {
    let tries = 0;
    const parts = partsWhere(async () => {
      tries += 1;
      if (tries < 3) await refuses();
    });
    await probeUntilReady(instanceWith({ probe: START }), running, parts, new AbortController().signal);
    expect(tries).toBe(3);
  });

  test('a run that ends is not waited for, nor one without a probe', async () => {
    const { signal } = new AbortController();
    await probeUntilReady(instanceWith({ probe: START }), ended, partsWhere(refuses), signal);
    await probeUntilReady(instanceWith({}), running, partsWhere(refuses), signal);
  });

  test('a run that does not answer any more is ended, with what was found', async () => {
    const killed: string[] = [];
    const found = Promise.withResolvers<string>();
    endWhenDead(instanceWith({ live: LIVE }), partsWhere(refuses, killed), new AbortController().signal, found.resolve);
    expect(await found.promise).toContain('not yet');
    await expect.poll(() => killed).toEqual([expect.stringMatching(/\/id$/)]);
  });
});
