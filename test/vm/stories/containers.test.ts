/** Containers on a host with cgroup v2 alone, as most boards are today. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bundled, keepTraces, unitImage } from '../fixture.ts';
import { Machine } from '../machine.ts';

const CHECKS = '/root/container-checks.mjs';

interface Findings {
  readonly limits: Readonly<Record<string, unknown>>;
  readonly leftover: number;
  readonly outOfMemory: { readonly aosCode: number; readonly exitCode: number; readonly message: string };
  readonly devices: { readonly rw: string; readonly none: string };
  readonly inside: string;
}

let machine: Machine;

beforeAll(async () => {
  machine = await Machine.create({ image: unitImage() });
  await machine.boot();
  await machine.copyIn(await bundled('container-checks'), CHECKS);
  await machine.copyIn(await readFile('/bin/busybox'), '/bin/busybox', '0755');
});

keepTraces(() => [machine]);
afterAll(() => machine?.close());

describe('on cgroup v2', () => {
  let findings: Findings;

  beforeAll(async () => {
    findings = JSON.parse(await machine.must(`/usr/lib/aoscore/node ${CHECKS} crun`, { timeoutS: 500 })) as Findings;
  });

  test('[SM-21] [SM-22] [SM-23] [O-07] processor, memory and processes are limited and counted', () => {
    expect(findings.limits).toEqual({
      version: 2,
      // 1000 of 10,000 DMIPS on 4 cores.
      cpu: '40000 100000',
      memory: String(32 * 1024 * 1024),
      pids: '7',
      processes: 1,
      account: ['usage_usec', true],
    });
  });

  test('a stop gives the cgroup back', () => expect(findings.leftover).toBe(0));

  test('[SM-22] [P-18] a service that takes more than its memory is killed, and its status says so', () => {
    expect(findings.outOfMemory).toEqual({ aosCode: 1, exitCode: 137, message: 'out of memory (limit 33554432)' });
  });

  test('[SM-31] devices that were granted can be used, others cannot', () => {
    expect(findings.devices.rw).toMatch(/No space left on device[\s\S]*read 0/);
    expect(findings.devices.none).toBe('1');
  });

  test('[SM-12] it sees its own cgroup as the root of the tree', () => expect(findings.inside).toBe('0::/'));
});
