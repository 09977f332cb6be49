/** In namespaces of their own; needs root. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readlinkSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HostLinks } from './ip.ts';
import { type InsidePlan, KernelLinks } from './kernel-links.ts';

const netns = `aos-test-${randomBytes(4).toString('hex')}`;
const ours = `t${randomBytes(4).toString('hex')}`;
const signal = AbortSignal.timeout(30_000);
const ip = (...words: string[]) => execFileSync('ip', words, { encoding: 'utf8' });
const inside = (...words: string[]) => ip('-n', netns, ...words);

const plan: InsidePlan = {
  netns,
  device: 'eth0',
  addresses: [
    { address: '10.99.0.2', prefix: 16 },
    { address: 'fd99::2', prefix: 64 },
  ],
  gateway: '10.99.0.1',
};

beforeEach(() => {
  ip('netns', 'add', netns);
  ip('link', 'add', 'name', ours, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', netns);
});
afterEach(() => {
  // The namespace would take it along, but later.
  ip('link', 'delete', 'dev', ours);
  ip('netns', 'delete', netns);
});

test('[SM-35] the inside of a namespace has its addresses and its way out, and we are where we were', async () => {
  const where = readlinkSync('/proc/thread-self/ns/net');
  await new KernelLinks().furnish(plan, signal);
  expect(readlinkSync('/proc/thread-self/ns/net')).toBe(where);
  expect(inside('-brief', 'address', 'show', 'dev', 'eth0')).toMatch(/10\.99\.0\.2\/16 fd99::2\/64/);
  expect(inside('link', 'show', 'lo')).toContain('LOOPBACK,UP');
  expect(inside('link', 'show', 'eth0')).toContain(',UP');
  expect(inside('route', 'show', 'default')).toMatch(/^default via 10\.99\.0\.1 dev eth0 /);
  // At once of use: an address that is looked for first would be tentative.
  expect(inside('-6', 'address', 'show', 'dev', 'eth0')).not.toMatch(/fd99::2\/64.*tentative/);
});

test('what the kernel refuses is told in words: twice the same, a way out that leads nowhere, no such interface', async () => {
  const links = new KernelLinks();
  await links.furnish({ ...plan, addresses: plan.addresses.slice(0, 1) }, signal);
  await expect(links.furnish(plan, signal)).rejects.toThrow(
    `namespace ${netns}: cannot give it the address 10.99.0.2/16: file already exists (EEXIST)`,
  );
  const away = { ...plan, addresses: [{ address: '10.98.0.2', prefix: 16 }], gateway: '10.1.1.1' };
  await expect(links.furnish(away, signal)).rejects.toThrow(
    /cannot set the way out by 10\.1\.1\.1: .* \(ENETUNREACH\)/,
  );
  await expect(links.furnish({ ...plan, device: 'eth7' }, signal)).rejects.toMatchObject({ code: 'notFound' });
  await expect(links.furnish({ ...plan, netns: 'aos-nobody' }, signal)).rejects.toMatchObject({
    code: 'notFound',
    message: expect.stringContaining('/run/netns/aos-nobody'),
  });
  await expect(links.furnish({ ...plan, gateway: 'nobody' }, signal)).rejects.toMatchObject({
    code: 'invalidArgument',
  });
});

test('links are told with their kind and bridge as `ip` tells them', async () => {
  const bridge = `b${ours}`;
  ip('link', 'add', 'name', bridge, 'type', 'bridge');
  try {
    ip('link', 'set', 'dev', ours, 'master', bridge);
    const links = await new HostLinks().list(signal);
    expect(links.find(({ name }) => name === ours)).toEqual({ name: ours, kind: 'veth', master: bridge });
    expect(links.find(({ name }) => name === bridge)).toEqual({ name: bridge, kind: 'bridge', master: undefined });
    expect(links.find(({ name }) => name === 'lo')).toEqual({ name: 'lo', kind: undefined, master: undefined });
  } finally {
    ip('link', 'delete', 'dev', bridge);
  }
});

test('a list longer than what the kernel tells at a time is whole', async () => {
  const names = Array.from({ length: 150 }, (_, index) => `${ours}${index}`);
  const batch = (line: (name: string) => string) =>
    execFileSync('ip', ['-batch', '-'], { input: names.map((name) => `${line(name)}\n`).join('') });
  batch((name) => `link add name ${name} type bridge`);
  try {
    const found = (await new HostLinks().list(signal)).map(({ name }) => name);
    expect(found).toEqual(expect.arrayContaining(names));
  } finally {
    batch((name) => `link delete dev ${name}`);
  }
});
