/** Networks of a whole unit: real daemons, real containers, the samples of `./dev up`, in a network namespace of the unit. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTimeOf } from '../../devenv/daemon-process.ts';
import { buildSamples, type Sample } from '../../devenv/samples.ts';
import { busyboxLayer, writeImage } from './image.ts';
import { World } from './world.ts';

const run = promisify(execFile);
const STORY_MS = 180_000;
/** A packet that is dropped is waited for in vain. */
const IN_VAIN_S = 3;

let world: World;
let samples: Sample[];
const pids = new Map<string, number>();

const sample = (id: string) => samples.find((one) => one.id === id)!;

/** Publishes a sample under another name, or for another owner, or with other allowed connections. */
async function publishSample(
  of: Sample,
  { id = of.id, owner = of.owner, without = [] }: { id?: string; owner?: string; without?: readonly string[] } = {},
): Promise<void> {
  const config = JSON.parse(await readFile(of.itemConfig, 'utf8')) as Record<string, unknown>;
  for (const key of without) delete config[key];
  const file = join(world.directory, `${id}.json`);
  await writeFile(file, JSON.stringify(config));
  await world.must('publish', of.image, '--config', file, '--id', id, '--version', of.version, '--owner', owner);
}

async function pidOf(itemId: string): Promise<number> {
  const found = await world.until(
    `an instance of ${itemId} runs`,
    () => world.running(itemId),
    (list) => list.filter(({ state, pid }) => state === 'active' && pid !== undefined).length === 1,
  );
  return found.find(({ state }) => state === 'active')!.pid!;
}

/** Runs a program of the host with the network, and the names, of an instance. */
async function inNetworkOf(itemId: string, ...words: readonly string[]): Promise<boolean> {
  const pid = await pidOf(itemId);
  return run('nsenter', [`--target=${pid}`, '--net', ...words]).then(
    () => true,
    () => false,
  );
}

const CONNECT = `
const socket = require('net').connect({ host: process.argv[1], port: process.argv[2], timeout: ${IN_VAIN_S * 1000} });
socket.on('connect', () => process.exit(0)).on('error', () => process.exit(1)).on('timeout', () => process.exit(1));`;

/** A connection that stands until it is finished; whether it was the same one, and carried something, to its end. */
async function hold(itemId: string, address: string, port: number): Promise<() => Promise<boolean>> {
  const script = `
    const socket = require('net').connect({ host: process.argv[1], port: process.argv[2] });
    const say = (hex) => socket.write(Buffer.from(hex, 'hex'));
    // MQTT: 10 connects as client "a" that need not be heard of, 20 says welcome, c0 asks, d0 answers.
    socket.on('connect', () => say('100d00044d5154540402000000' + '0161'));
    socket.on('data', (bytes) => {
      if (bytes[0] === 0x20) { console.log('stands'); process.stdin.once('data', () => say('c000')); }
      if (bytes[0] === 0xd0) process.exit(0);
    });
    socket.on('error', () => process.exit(1)).on('close', () => process.exit(1));`;
  const words = [`--target=${await pidOf(itemId)}`, '--net', process.execPath, '-e', script, address, String(port)];
  const child = spawn('nsenter', words, { stdio: ['pipe', 'pipe', 'ignore'] });
  const exit = once(child, 'exit') as Promise<[number | null]>;
  await Promise.race([once(child.stdout, 'data'), exit]);
  return async () => {
    child.stdin.end('finish');
    return (await exit)[0] === 0;
  };
}

const reaches = (itemId: string, address: string, port: number) =>
  inNetworkOf(itemId, process.execPath, '-e', CONNECT, address, String(port));

async function addressOf(itemId: string): Promise<string> {
  const pid = await pidOf(itemId);
  const { stdout } = await run('nsenter', [`--target=${pid}`, '--net', 'ip', '-j', '-4', 'address', 'show', 'eth0']);
  return (JSON.parse(stdout) as { addr_info: { local: string }[] }[])[0]!.addr_info[0]!.local;
}

const inUnit = async (...words: readonly string[]) =>
  (await run('nsenter', [`--net=/run/netns/${world.unit.namespace}`, ...words])).stdout;

const ruleset = () => inUnit('nft', '-s', 'list', 'ruleset');

/** What an instance writes: its log, by way of aosctl. */
const saysSince = async (itemId: string, text: string) =>
  world.until(
    `${itemId} says "${text}"`,
    async () => (await world.ctl('logs', itemId)).stdout,
    (log) => log.includes(text),
  );

async function hostNetwork(): Promise<string> {
  const commands = [
    ['nft', '-s', 'list', 'ruleset'],
    ['ip', 'route', 'show', 'table', 'all'],
    ['ip', '-br', 'address'],
    ['cat', '/proc/sys/net/ipv4/ip_forward'],
  ] as const;
  const texts = await Promise.all(commands.map(async ([program, ...args]) => (await run(program, args)).stdout));
  return texts.join('\n');
}

let before: string;

beforeAll(async () => {
  before = await hostNetwork();
  world = await World.create({ hasOwnNetwork: true });
  samples = await buildSamples(join(world.directory, 'samples'), () => undefined);
  await world.provision();
}, STORY_MS);

afterAll(() => world?.close(), STORY_MS);

test(
  '[CM-100] [SM-36] a client of another owner reaches the broker by its name, because both sides allow it',
  async () => {
    await publishSample(sample('mosquitto-client'));
    // The client first: its rule comes when the broker does.
    await world.deploy('mosquitto-client', '1.0.0');
    await publishSample(sample('mosquitto'));
    await world.deploy('mosquitto', '1.0.0');
    await saysSince('mosquitto-client', 'told: ');
    const [client, broker] = [await addressOf('mosquitto-client'), await addressOf('mosquitto')];
    // Each owner has a network of its own.
    expect(client.split('.').slice(0, 2)).not.toEqual(broker.split('.').slice(0, 2));
    pids.set('mosquitto', await pidOf('mosquitto'));
    pids.set('mosquitto-client', await pidOf('mosquitto-client'));
  },
  STORY_MS,
);

test(
  '[CM-99] [SM-40] names of another owner are known to its own name server through the one of the unit',
  async () => {
    const pid = pids.get('mosquitto-client')!;
    const resolvConf = await readFile(`/proc/${pid}/root/etc/resolv.conf`, 'utf8');
    const [first] = resolvConf.match(/\d+\.\d+\.\d+\.\d+/g) ?? [];
    expect(resolvConf).toMatch(/^nameserver 172\.\d+\.0\.2\nnameserver 10\.0\.0\.100\n$/);
    const { stdout } = await run('nsenter', [`--target=${pid}`, '--net', 'busybox', 'nslookup', 'mosquitto', first!]);
    expect(stdout).toContain(await addressOf('mosquitto'));
  },
  STORY_MS,
);

test(
  '[SM-36] [X-16] without the permission, and at any other port, nothing comes about',
  async () => {
    await publishSample(sample('mosquitto-client'), {
      id: 'stranger',
      owner: 'strangers',
      without: ['allowedConnections'],
    });
    await world.deploy('stranger', '1.0.0');
    const broker = await addressOf('mosquitto');
    expect({
      allowed: await reaches('mosquitto-client', broker, 1883),
      withoutPermission: await reaches('stranger', broker, 1883),
      back: await reaches('mosquitto', await addressOf('stranger'), 1883),
    }).toEqual({ allowed: true, withoutPermission: false, back: false });
  },
  STORY_MS,
);

test(
  '[SM-36] [X-16] of three owners with two instances each, exactly those of one owner reach each other',
  async () => {
    const owners = ['red', 'green', 'blue'];
    const names = owners.flatMap((owner) => [`${owner}-1`, `${owner}-2`]);
    const image = await writeImage(join(world.directory, 'listener'), {
      cmd: ['/bin/nc', '-ll', '-p', '7000', '-e', '/bin/true'],
      layers: [busyboxLayer()],
    });
    for (const name of names) {
      await world.must('publish', image, '--id', name, '--version', '1.0.0', '--owner', name.split('-')[0]!);
      await world.deploy(name, '1.0.0');
    }
    const addresses = new Map<string, string>();
    for (const name of names) addresses.set(name, await addressOf(name));
    const connected: string[] = [];
    for (const from of names) {
      const reached = await Promise.all(
        names
          .filter((to) => to !== from)
          .map(async (to) => ((await reaches(from, addresses.get(to)!, 7000)) ? to : [])),
      );
      connected.push(...reached.flat().map((to) => `${from} ${to}`));
    }
    expect(connected.sort()).toEqual(
      owners.flatMap((owner) => [`${owner}-1 ${owner}-2`, `${owner}-2 ${owner}-1`]).sort(),
    );
    for (const name of names) await world.must('undeploy', name, '--unit', world.systemId, '--wait', '60');
  },
  STORY_MS,
);

test(
  '[X-07] [SM-58] daemons that are killed open nothing and cut nothing',
  async () => {
    const rules = await ruleset();
    const finish = await hold('mosquitto-client', await addressOf('mosquitto'), 1883);
    for (const daemon of ['aos-sm', 'aos-cm'] as const) {
      await world.unit.supervisor.daemon(daemon).kill('SIGKILL');
      expect(await ruleset()).toBe(rules);
      await world.unit.supervisor.untilReady(daemon);
      await world.untilUnit('its node is connected again', ({ nodes }) => nodes.some(({ connected }) => connected));
    }
    await world.until(
      'everything is known again',
      () => world.running(),
      (list) => list.filter(({ state }) => state === 'active').length === 3,
    );
    expect(await ruleset()).toBe(rules);
    expect(await finish()).toBe(true);
    for (const [itemId, pid] of pids) {
      expect(startTimeOf(pid), itemId).toBeDefined();
      expect(await pidOf(itemId)).toBe(pid);
    }
    expect(await reaches('mosquitto-client', await addressOf('mosquitto'), 1883)).toBe(true);
    expect(await reaches('stranger', await addressOf('mosquitto'), 1883)).toBe(false);
  },
  STORY_MS,
);

test(
  'instances that go take their networks along; the network of the host is what it was',
  async () => {
    for (const itemId of ['stranger', 'mosquitto-client', 'mosquitto']) {
      await world.must('undeploy', itemId, '--unit', world.systemId, '--wait', '60');
    }
    await world.until(
      'nothing is left of the networks',
      async () => (await ruleset()) + (await inUnit('ip', '-br', 'link')),
      (text) => !/instance_|masquerade|veth|br-/.test(text),
    );
    expect(await hostNetwork()).toBe(before);
  },
  STORY_MS,
);
