/**
 * What image, item and node say of a service, found by the service itself: in a container that the whole daemon made, with
 * the root, the network and the runtime of a device.
 */
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { instanceId } from '../../src/core/index.ts';
import type { ScriptedStream } from '../../src/sm/client/scripted-cm-for-tests.ts';
import { buildSm, SmNode, type WantedService } from './sm-node.ts';
import { until } from './until.ts';

const STORY_MS = 120_000;
const MIB = 1024 * 1024;

let built: { readonly bundle: string; readonly directory: string };
let node: SmNode;
let stream: ScriptedStream;

beforeAll(async () => {
  built = await buildSm();
  node = await SmNode.create(built.bundle, {}, { hasOwnNetwork: true });
  await mkdir(node.at('shared'));
  await writeFile(node.at('shared', 'file'), 'of the node\n');
  // A driver of every kernel that no runtime grants by itself.
  execFileSync('mknod', ['-m', '666', node.at('shared', 'device'), 'c', '10', '200']);
  const bus = {
    name: 'bus',
    groups: ['dialout'],
    mounts: [{ destination: '/mnt/shared', source: node.at('shared'), options: ['bind', 'ro'] }],
    envs: ['BUS=can0'],
    hosts: [{ ip: '10.9.8.7', hostname: 'headunit.local' }],
    devices: [`${node.at('shared', 'device')}:/dev/bus0`],
  };
  await writeFile(node.at('resources.cfg'), JSON.stringify([bus]));
  await node.start();
  stream = (await node.introduced()).stream;
}, STORY_MS);

afterAll(async () => {
  await node?.close();
  await rm(built.directory, { recursive: true, force: true });
}, STORY_MS);

const contentOf = (...path: string[]) => readFile(node.at(...path), 'utf8').catch(() => '');
/** What a service has written into its storage, once it says that it is done. */
const saidBy = ({ storagePath = '' }: WantedService) =>
  until(
    'it has said everything',
    () => contentOf('storages', storagePath, 'out'),
    (text) => text.includes('\ndone\n'),
  );

const SCRIPT = `exec > /storage/out 2>&1
echo "directory $(busybox pwd)"
echo "user $(busybox id -u), groups $(busybox id -G)"
echo "name $(cat /proc/sys/kernel/hostname), $(cat /etc/hostname)"
echo "words $IMAGE $OVERRIDDEN $BUS $AOS_SECRET $AOS_INSTANCE_ID"
echo "arguments $0 $1"
echo "msgmax $(cat /proc/sys/kernel/msgmax)"
echo "files $(ulimit -n), processes $(ulimit -u)"
echo "shared $(cat /mnt/shared/file)"
(: < /dev/bus0) 2>/dev/null && echo "device read"
(: > /dev/bus0) 2>/dev/null || echo "device not written"
busybox dd if=/dev/zero of=/tmp/full bs=1M count=3 2>/dev/null || echo "tmp $(busybox wc -c < /tmp/full)"
echo kept > /state.dat && echo "state $(cat /state.dat)"
(: > /mine) 2>/dev/null || echo "root read-only"
busybox sed 's/^/hosts /' /etc/hosts
busybox sed 's/^/resolv /' /etc/resolv.conf
busybox ip -o link | while read number name rest; do echo "link $name"; done
busybox route -n | while read to by rest; do echo "route $to $by"; done
echo done
trap 'echo "stopped by USR1" >> /storage/out; exit 0' USR1
while :; do busybox sleep 0.1; done`;

const itemConfig = {
  hostname: 'telemetry',
  sysctl: { 'kernel.msgmax': '4321' },
  resources: [{ name: 'bus', mode: 'r' }],
  permissions: { kuksa: { speed: 'r' } },
  // Nothing is reserved for it; its limits hold all the same.
  skipResourceLimits: true,
  quotas: {
    cpuDMIPSLimit: 1000,
    ramLimit: 64 * MIB,
    pidsLimit: 20,
    noFileLimit: 77,
    tmpLimit: MIB,
    storageLimit: MIB,
    stateLimit: 64,
  },
};

test(
  '[SM-10] [SM-13] [SM-23] [SM-24] [SM-26] [SM-27] [SM-28] [SM-29] [SM-30] [SM-31] a service finds all that image, item and node say of it',
  async () => {
    const image = {
      env: ['IMAGE=busybox', 'OVERRIDDEN=no', 'PATH=/bin'],
      config: { Cmd: ['one', 'two'], WorkingDir: '/etc', StopSignal: 'SIGUSR1' },
    };
    const digest = await node.publish({ cmd: ['/bin/sh', '-c', SCRIPT], itemConfig, image });
    const data = { storagePath: 'fields', statePath: 'fields/state.dat', env: { OVERRIDDEN: 'yes' } };
    const service = node.service('fields', digest, data);
    expect(await node.update(stream, [service])).toEqual({ fields: 'active' });
    const said = (await saidBy(service)).trimEnd().split('\n');
    const dialout = /^dialout:[^:]*:(\d+):/m.exec(await readFile('/etc/group', 'utf8'))![1];
    const id = instanceId(service.ident);
    expect(said).toEqual(
      expect.arrayContaining([
        'directory /etc',
        `user 5000, groups 5000 ${dialout}`,
        'name telemetry, telemetry',
        `words busybox yes can0 secret of fields ${id}`,
        'arguments one two',
        'msgmax 4321',
        'files 77, processes 20',
        'shared of the node',
        'device read',
        'device not written',
        `tmp ${MIB}`,
        'state kept',
        'root read-only',
      ]),
    );
    const told = (what: string) =>
      said.filter((line) => line.startsWith(`${what} `)).map((line) => line.slice(what.length + 1));
    expect(told('hosts')).toContainEqual(expect.stringMatching(/^127\.0\.0\.1\s+localhost/));
    expect(told('hosts')).toContainEqual(expect.stringMatching(/^172\.\S+\s.*\btelemetry\b/));
    expect(told('hosts')).toContain('10.9.8.7\theadunit.local');
    expect(told('resolv')).toContainEqual(expect.stringMatching(/^nameserver \d+\./));
    expect(told('link').map((name) => name.replace(/@.*|:$/g, ''))).toEqual(expect.arrayContaining(['lo', 'eth0']));
    expect(told('route')).toContainEqual(expect.stringMatching(/^0\.0\.0\.0 172\./));

    // The stop signal of the image is what it hears.
    expect(await node.update(stream, [], [service])).toEqual({});
    expect((await contentOf('storages', 'fields', 'out')).trimEnd().split('\n').at(-1)).toBe('stopped by USR1');
    expect(await contentOf('states', 'fields', 'state.dat')).toBe('kept\n');
  },
  STORY_MS,
);

test(
  '[P-22] [P-19] a service waits until the start probe of the one that it depends on succeeds, and says for whom',
  async () => {
    const probes = { start: { exec: ['/bin/cat', '/storage/ready'], interval: '100ms', startTimeout: '60s' } };
    const broker = node.service('broker', await node.publish({ itemConfig: { probes } }), { storagePath: 'broker' });
    const dependencies = [{ identity: { codename: 'broker' }, condition: 'healthy' }];
    const client = node.service('client', await node.publish({ itemConfig: { dependencies } }));
    const answer = node.update(stream, [client, broker]);
    const stateOf = async () => {
      const report = await node.report();
      return Object.fromEntries(report.instances.map(({ itemId, state, because }) => [itemId, `${state}: ${because}`]));
    };
    await until(
      'both are on their way',
      stateOf,
      ({ broker = '', client = '' }) => broker.includes('its start probe is being tried') && client.includes('broker'),
    );
    expect((await stateOf()).client).toMatch(/^activating: it waits: .*broker/);
    expect((await node.pids()).client).toBeUndefined();
    await writeFile(node.at('storages', 'broker', 'ready'), '');
    expect(await answer).toEqual({ broker: 'active', client: 'active' });
    expect(await node.update(stream, [], [client, broker])).toEqual({});
  },
  STORY_MS,
);
