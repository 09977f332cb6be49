import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { afterEach, expect, test } from 'vitest';
import { HostNetworkNamespaces, netnsPath } from './network-namespaces.ts';

const namespaces = new HostNetworkNamespaces();
const prefix = `aos-test-${randomBytes(4).toString('hex')}`;
const names = [`${prefix}-a`, `${prefix}-b`];
const signal = () => AbortSignal.timeout(30_000);
afterEach(() => namespaces.remove(names, signal()));

const flagsOfLo = (name: string) => execFileSync('ip', ['-n', name, 'link', 'show', 'lo'], { encoding: 'utf8' });

test('namespaces are made with their loopback interface up, and making them again changes nothing', async () => {
  await namespaces.create([names[0]!], signal());
  await namespaces.create(names, signal());
  expect(await namespaces.list()).toEqual(expect.arrayContaining(names));
  for (const name of names) expect(flagsOfLo(name)).toContain('LOOPBACK,UP');
  expect(netnsPath('x')).toBe('/run/netns/x');
});

test('removing takes those that exist', async () => {
  await namespaces.create([names[0]!], signal());
  await namespaces.remove(names, signal());
  expect(await namespaces.list()).not.toContain(names[0]);
});

test.each(['', 'a b', 'a\nnetns delete other', '../x', '-x'])(
  'a name that could be something else is refused: %j',
  async (name) => {
    await expect(namespaces.create([name], signal())).rejects.toMatchObject({ code: 'invalidArgument' });
  },
);
