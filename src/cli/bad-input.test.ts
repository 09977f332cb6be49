/**
 * Every command with everything that can be wrong around it: arguments, no daemon, no permission, no cloud, credentials that
 * are of no use. Each time an exit code that scripts can use, and words that say what to do next.
 */

import { KeyObject } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestCloud } from '../cloud/cloud-for-tests.ts';
import { ControlServer } from '../daemon/index.ts';
import { makeCertificate } from '../storage/certificates-for-tests.ts';
import { EXIT } from './exit-codes.ts';
import { aosctl, commandsOf } from './program.ts';

interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a command talks to; `nothing`: it only reads its arguments and files; `all`: it tells what it could not ask. */
type Asks = 'cm' | 'sm' | 'iam' | 'cloud' | 'nothing' | 'all';

interface Row {
  /** A command line that is right. */
  readonly args: readonly string[];
  readonly asks: Asks;
  /** Asks the cloud when the command line names a unit. */
  readonly orCloud?: true;
  /** Wrong or contradictory in itself: what is added, and what is said. */
  readonly wrong?: readonly (readonly [more: readonly string[], words: RegExp])[];
}

const NO_NUMBER = /Expected a whole number/;
const number = (flag: string) => [[flag, 'many'], NO_NUMBER] as const;
const KIND = /Allowed choices are/;

const ROWS: Readonly<Record<string, Row>> = {
  provision: {
    args: ['127.0.0.1:1', '--retry-count', '0'],
    asks: 'cloud',
    wrong: [number('--nodes'), number('--wait')],
  },
  publish: {
    args: ['SERVICE'],
    asks: 'cloud',
    wrong: [
      [['--type', 'firmware'], KIND],
      [['--config', 'x.json'], /leave out --type and --config/],
    ],
  },
  dev: { args: ['SERVICE', '--unit', 'car'], asks: 'cloud' },
  deploy: {
    args: ['web', '--version', '1.0.0'],
    asks: 'cloud',
    wrong: [number('--priority'), number('--wait'), [['--instances', '0'], /at least 1; "aosctl undeploy" removes/]],
  },
  undeploy: { args: ['web'], asks: 'cloud', wrong: [number('--wait')] },
  deployments: { args: [], asks: 'cloud' },
  scale: { args: ['web', '--instances', '2'], asks: 'cloud', wrong: [number('--wait')] },
  rollback: { args: ['web'], asks: 'cloud', wrong: [number('--wait')] },
  deprovision: { args: [], asks: 'cloud', wrong: [number('--wait')] },
  reset: { args: ['car'], asks: 'cloud' },
  forget: { args: ['car'], asks: 'cloud' },
  'node provision': { args: ['aux'], asks: 'cloud' },
  'node deprovision': { args: ['aux'], asks: 'cloud' },
  'node forget': { args: ['aux'], asks: 'iam' },
  renew: { args: [], asks: 'cloud' },
  status: { args: [], asks: 'cm', orCloud: true },
  nodes: { args: [], asks: 'cm', orCloud: true },
  items: { args: [], asks: 'cm', orCloud: true },
  instances: { args: [], asks: 'cm', orCloud: true },
  units: { args: [], asks: 'cloud' },
  events: {
    args: [],
    asks: 'cm',
    orCloud: true,
    wrong: [
      number('--tail'),
      [['--kind', 'story'], KIND],
      [['--unit', 'car', '--kind', 'item'], /with --unit leave --kind out/],
    ],
  },
  logs: {
    args: ['web'],
    asks: 'sm',
    orCloud: true,
    wrong: [
      number('--tail'),
      [['--since', 'soon'], /Expected a time such as/],
      [['--since', '5m', '--until', '10m'], /--since .* is later than --until/],
      [['--follow', '--previous'], /--follow goes on: leave --previous/],
      [['--unit', 'car', '--tail', '5', '-t'], /with --unit leave --tail, --timestamps out/],
    ],
  },
  exec: { args: ['web', 'ls'], asks: 'sm', wrong: [[['--unit', 'car'], /log in there, and leave --unit out/]] },
  top: { args: ['--once'], asks: 'sm', orCloud: true },
  networks: { args: [], asks: 'cm' },
  certs: { args: [], asks: 'iam' },
  alerts: { args: [], asks: 'sm', orCloud: true },
  why: { args: ['web'], asks: 'cm' },
  plan: {
    args: [],
    asks: 'cm',
    wrong: [
      [['/no/such/file'], /cannot read .*\/no\/such\/file/],
      [['NOT-JSON'], /is not JSON/],
    ],
  },
  update: { args: [], asks: 'cm' },
  'update start': { args: ['sota'], asks: 'cm' },
  'update lock': {
    args: ['--owner', 'me', '--reason', 'driving', '--for', '1h'],
    asks: 'cm',
    wrong: [[['--for', 'soon'], /Expected a span of time such as 30m/]],
  },
  'update unlock': { args: ['--owner', 'me'], asks: 'cm' },
  doctor: { args: [], asks: 'all' },
  'config check': { args: ['GOOD-CONFIG', '--kind', 'item'], asks: 'nothing', wrong: [[['--kind', 'car'], KIND]] },
  'support-bundle': {
    args: ['--output', 'ARCHIVE', '--config-dir', 'EMPTY'],
    asks: 'all',
    wrong: [
      [
        ['--output', '/no/such/x.tar.gz'],
        /^aosctl: cannot write \/no\/such\/x\.tar\.gz: tar.*No such file or directory $/,
      ],
    ],
  },
  completion: { args: ['bash'], asks: 'nothing' },
  'man-page': { args: [], asks: 'nothing' },
  bundle: { args: ['OUT', 'car'], asks: 'cloud' },
  apply: {
    args: ['BUNDLE'],
    asks: 'cm',
    wrong: [number('--wait')],
  },
  'unit-sets': { args: [], asks: 'cloud' },
  'unit-set': {
    args: ['cars'],
    asks: 'cloud',
    wrong: [[['--delete', '--member', 'car'], /leave --member and --verification out/]],
  },
  subjects: { args: [], asks: 'cloud' },
  subject: {
    args: ['drivers'],
    asks: 'cloud',
    wrong: [
      number('--priority'),
      [['--type', 'crowd'], KIND],
      [['--delete', '--title', 'x'], /leave the other options out/],
    ],
  },
  assign: { args: ['drivers'], asks: 'cloud' },
  withdraw: { args: ['drivers'], asks: 'cloud' },
  subscribe: { args: ['drivers', 'web'], asks: 'cloud', wrong: [number('--instances'), number('--priority')] },
  unsubscribe: { args: ['drivers', 'web'], asks: 'cloud' },
  campaigns: { args: [], asks: 'cloud' },
  'campaign begin': { args: ['web', '--version', '1.0.0', '--stage', 'cars'], asks: 'cloud' },
  'campaign show': { args: ['1'], asks: 'cloud' },
  'campaign advance': { args: ['1'], asks: 'cloud' },
  'campaign stop': { args: ['1'], asks: 'cloud' },
  login: { args: [], asks: 'cloud' },
  users: { args: [], asks: 'cloud' },
  'user add': { args: ['bob', '--role', 'oem'], asks: 'cloud', wrong: [[['--role', 'king'], KIND]] },
  'user certificate': { args: ['bob', '--out', 'OUT'], asks: 'cloud' },
  'user token': { args: ['bob'], asks: 'cloud', wrong: [number('--days')] },
  'user remove': { args: ['bob'], asks: 'cloud' },
  verify: { args: ['web', '--version', '1.0.0'], asks: 'cloud' },
};

/** Credentials that can be read. */
const MINE = ['--cert', 'expired.pem', '--key', 'expired-key.pem'];

const rows = Object.entries(ROWS);
const asking = (...kinds: readonly Asks[]) => rows.filter(([, { asks }]) => kinds.includes(asks));
const DAEMONS = ['cm', 'sm', 'iam'] as const;

let directory: string;
let cloud: TestCloud;
const never = new AbortController().signal;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aosctl-bad-'));
  cloud = await TestCloud.start();
  await writeFile(at('NOT-JSON'), 'not json');
  await writeFile(at('GOOD-CONFIG'), '{}');
  await mkdir(at('EMPTY'));
  await mkdir(join(at('SERVICE'), 'src', 'app'), { recursive: true });
  await writeFile(join(at('SERVICE'), 'src', 'app', 'run'), '#!/bin/sh\n', { mode: 0o755 });
  await writeFile(
    join(at('SERVICE'), 'config.yaml'),
    `schemaVersion: 2
items:
  - identity: {codename: web}
    version: 1.0.0
    images: [{sourceFolder: src, archInfo: {architecture: amd64}}]
    configuration: {cmd: /app/run}
`,
  );
  // As much of a bundle as is read before the daemon is asked.
  const { tarOf } = await import('../cm/bundles/bundles-for-tests.ts');
  await writeFile(
    at('BUNDLE'),
    await tarOf([
      ['bundle.json', Buffer.from('{}')],
      ['signature.json', Buffer.from('{}')],
    ]),
  );
  const stranger = await makeCertificate('stranger', {
    notBefore: new Date('2020-01-01'),
    notAfter: new Date('2021-01-01'),
  });
  await writeFile(at('expired.pem'), stranger.pem);
  await writeFile(
    at('expired-key.pem'),
    KeyObject.from(stranger.keys.privateKey as never).export({ type: 'pkcs8', format: 'pem' }),
  );
}, 60_000);

afterAll(async () => {
  await cloud.close();
  await rm(directory, { recursive: true, force: true });
});

const at = (name: string): string => join(directory, name);
/** Words in capitals and names of certificates are files of this test. */
const inPlace = (args: readonly string[]) =>
  args.map((arg) => (/^([A-Z][A-Z-]+|[a-z-]+\.pem)$/.test(arg) ? at(arg) : arg));

async function run(args: readonly string[], signal = never): Promise<Said> {
  let [stdout, stderr] = ['', ''];
  const code = await aosctl(inPlace(args), {
    stdout: {
      write: (text) => {
        stdout += text;
      },
    },
    stderr: {
      write: (text) => {
        stderr += text;
      },
    },
    env: {},
    signal,
  });
  return { code, stdout, stderr };
}

const pki = (name: string) => join(cloud.directory, 'work', 'pki', name);
const atCloud = (cert = pki('operator.pem'), key = pki('operator-key.pem'), url = cloud.endpoints.restUrl) => [
  ...['--cloud', url, '--ca', pki('root.pem'), '--cert', cert, '--key', key],
];
/** The parts of a line: the command's words, its arguments, and what is said of surroundings. */
const line = (name: string, around: readonly string[], more: readonly string[] = []) => [
  ...around,
  ...(ROWS[name]!.asks === 'cloud' && !around.includes('--unit') ? ['--unit', 'car'] : []),
  ...name.split(' '),
  ...ROWS[name]!.args,
  ...more,
];
const SOCKET = () => ['--socket', at('nobody.sock')];

/** Each command that does something, with the words that lead to it. */
function leavesOf(command: Command, words: readonly string[] = []): string[] {
  const below = command.commands.flatMap((one) => leavesOf(one, [...words, one.name()]));
  const acts = words.length > 0 && (command as unknown as { _actionHandler: unknown })._actionHandler !== null;
  return [...(acts ? [words.join(' ')] : []), ...below];
}

function commandOf(name: string): Command {
  const nowhere = { write: () => undefined };
  return name.split(' ').reduce(
    (command, word) => command.commands.find((one) => one.name() === word)!,
    commandsOf(async () => undefined, nowhere, nowhere),
  );
}

test('every command of aosctl is in the table', () => {
  const nowhere = { write: () => undefined };
  const all = leavesOf(commandsOf(async () => undefined, nowhere, nowhere));
  expect(rows.map(([name]) => name).sort()).toEqual(all.sort());
});

describe('arguments', () => {
  test.each(rows.map(([name]) => name))('%s: an option and an argument too many, one too few', async (name) => {
    const strange = await run(line(name, SOCKET(), ['--no-such-option']));
    // What follows the instance is for the command in it.
    if (name !== 'exec')
      expect(strange).toMatchObject({ code: EXIT.usage, stderr: expect.stringMatching(/unknown option/) });
    const { registeredArguments } = commandOf(name);
    if (!registeredArguments.some(({ variadic }) => variadic)) {
      const many = await run(line(name, SOCKET(), Array(registeredArguments.length + 1).fill('more')));
      expect(many).toMatchObject({ code: EXIT.usage, stderr: expect.stringMatching(/too many arguments/) });
    }
    if (registeredArguments.some(({ required }) => required)) {
      const options = ROWS[name]!.args.slice(registeredArguments.filter(({ required }) => required).length);
      const few = await run([...SOCKET(), ...name.split(' '), ...(options[0]?.startsWith('-') ? options : [])]);
      expect(few).toMatchObject({ code: EXIT.usage, stderr: expect.stringMatching(/missing required argument/) });
    }
    for (const option of commandOf(name).options.filter(({ mandatory }) => mandatory)) {
      const { args } = ROWS[name]!;
      const from = args.indexOf(option.long!);
      const without = args.filter((_, index) => index !== from && index !== from + 1);
      const missing = await run([...SOCKET(), ...name.split(' '), ...without]);
      expect(missing).toMatchObject({
        code: EXIT.usage,
        stderr: expect.stringMatching(new RegExp(`required option.*${option.long}`)),
      });
    }
  });

  test.each(rows.flatMap(([name, { wrong = [] }]) => wrong.map(([more, words]) => [name, more, words] as const)))(
    '%s %j is refused with what was expected',
    async (name, more, words) => {
      const base = ROWS[name]!.asks === 'cloud' ? atCloud() : SOCKET();
      const said = await run(line(name, base, more));
      expect(said.stderr.replaceAll('\n', ' ')).toMatch(words);
      expect([EXIT.usage, EXIT.failed]).toContain(said.code);
      expect(said.stdout).toBe('');
    },
  );

  test.each([
    [['--p12', 'x.p12', ...'--cert a --key b'.split(' ')], /two certificates are named/],
    [['--cloud', 'https://x', '--cert', 'GOOD-CONFIG'], /cannot be read|no key is named|PEM/],
    [['--profile', '/no/such/profile'], /the profile \/no\/such\/profile does not exist/],
    [['--profile', 'NOT-JSON'], /is not JSON/],
    [['--profile', 'EMPTY'], /cannot read the profile .*EMPTY/],
    [['--unit', ''], /--unit is empty: name what is meant, or leave it out/],
    [['--cloud', 'https://[x', ...MINE], /"https:\/\/\[x" is no address of a cloud: expected https:\/\/host:10000/],
    [['--cloud', 'http://x', ...MINE], /"http:\/\/x" is no address of a cloud/],
    [['--cloud', 'x', '--cert', 'NOT-JSON', '--key', 'NOT-JSON'], /NOT-JSON holds no certificate \(PEM\)/],
    [
      ['--cloud', 'x', '--cert', 'expired.pem', '--key', 'NOT-JSON'],
      /expired\.pem with the key .*NOT-JSON cannot be used/,
    ],
    [['--cloud', 'x', '--p12', 'NOT-JSON'], /NOT-JSON cannot be used/],
    [['--cloud', 'x', ...MINE, '--ca', 'NOT-JSON'], /the CA file .*NOT-JSON holds no certificate/],
    [['--cloud', 'x', ...MINE, '--ca', '/no/root.pem'], /cannot read the CA file \/no\/root\.pem/],
  ])('what is said of the cloud: %j', async (options, words) => {
    const said = await run([...options, 'units']);
    expect(said).toMatchObject({ code: EXIT.usage, stderr: expect.stringMatching(words) });
  });

  test.each(['', 'host:99999', 'https://host', 'two words'])(
    'an address of a unit that is none: "%s"',
    async (address) => {
      const said = await run([...atCloud(), 'provision', address]);
      expect(said).toMatchObject({
        code: EXIT.usage,
        stderr: expect.stringMatching(/is no address: expected host or host:port/),
      });
    },
  );

  test('a folder that nobody can publish', async () => {
    const said = await run([...atCloud(), 'publish', at('EMPTY'), '--id', 'a', '--version', '1.0.0']);
    expect(said).toMatchObject({
      code: EXIT.usage,
      stderr: expect.stringMatching(/no OCI image layout: it has no index\.json, and no config\.yaml/),
    });
  });

  test('update start of something else than services and components', async () => {
    const said = await run(['update', 'start', 'firmware']);
    expect(said).toMatchObject({ code: EXIT.usage, stderr: expect.stringMatching(KIND) });
  });

  test.each(
    asking('cm', 'sm', 'iam', 'all')
      .filter(([, row]) => !row.orCloud && row.asks !== 'sm')
      .map(([name]) => name),
  )('%s is about this machine, and says so when another unit is named', async (name) => {
    const said = await run(line(name, [...SOCKET(), '--unit', 'car']));
    expect(said).toMatchObject({
      code: EXIT.usage,
      stderr: expect.stringMatching(/leave --unit out, or log in on car/),
    });
  });
});

describe('no daemon', () => {
  test.each(asking(...DAEMONS).map(([name]) => name))('%s: exit code 3, and how to reach one', async (name) => {
    const said = await run(line(name, SOCKET()));
    expect(said.code).toBe(EXIT.unreachable);
    expect(said.stderr).toMatch(/no daemon listens on .*\.sock; is it running\? \(another socket: --socket/);
    expect(said.stdout).toBe('');
    const json = await run(line(name, ['--json', ...SOCKET()]));
    expect(JSON.parse(json.stdout)).toEqual({
      error: { code: 'notFound', message: expect.stringMatching(/no daemon listens/) },
    });
    expect(json.code).toBe(EXIT.unreachable);
  });

  test('doctor names each, with its cure', async () => {
    const said = await run(['--json', ...SOCKET(), 'doctor', '--config-dir', at('EMPTY')]);
    expect(said.code).toBe(EXIT.failed);
    const findings = JSON.parse(said.stdout) as { check: string; cure?: string }[];
    for (const name of ['aos-iam', 'aos-cm', 'aos-sm']) {
      expect(findings).toContainEqual(
        expect.objectContaining({ check: `daemon ${name}`, cure: expect.stringMatching(/journalctl/) }),
      );
    }
  });

  test('support-bundle gathers what there is, and says what is missing', async () => {
    const said = await run([...SOCKET(), ...line('support-bundle', [])]);
    expect(said).toMatchObject({
      code: EXIT.done,
      stdout: `${at('ARCHIVE')}\n`,
      stderr: expect.stringMatching(/not to be had: .*cm/),
    });
  });
});

// Only root can become somebody without permission; ./dev test runs as root.
describe.skipIf(process.getuid?.() !== 0)('no permission', () => {
  test.each(asking(...DAEMONS).map(([name]) => name))('%s: who may ask', async (name) => {
    const sockets = join(directory, `closed-${name.replace(' ', '-')}`);
    const servers = await Promise.all(DAEMONS.map((daemon) => ControlServer.open(join(sockets, `${daemon}.sock`), {})));
    await chmod(directory, 0o755);
    // The rights of nobody, as far as files and sockets are concerned.
    const groups = process.getgroups!();
    process.setgroups!([65_534]);
    process.setegid!(65_534);
    process.seteuid!(65_534);
    let said: Said;
    try {
      said = await run(line(name, ['--socket', join(sockets, 'cm.sock')]));
    } finally {
      process.seteuid!(0);
      process.setegid!(0);
      process.setgroups!(groups);
    }
    for (const server of servers) await server.stop();
    expect(said.stderr).toMatch(/\.sock is not open to this user; ask as root \(sudo\) or as a user of its group/);
    expect(said.code).toBe(EXIT.failed);
  });
});

describe('no cloud', () => {
  const names = [...asking('cloud').map(([name]) => name)];
  /** Those that ask this machine by default. */
  const either = rows.filter(([, { orCloud }]) => orCloud).map(([name]) => name);

  test.each([...names, ...either])('%s: none is named', async (name) => {
    const said = await run(line(name, ['--unit', 'car']));
    expect(said).toMatchObject({
      code: EXIT.usage,
      stderr: expect.stringMatching(/no cloud is named: give --cloud https/),
    });
  });

  test.each([...names, ...either])('%s: it is not reached', async (name) => {
    // Nobody listens on this port: it was free just now.
    const port = await freePort();
    const said = await run(
      line(name, [...atCloud(undefined, undefined, `https://127.0.0.1:${port}`), '--unit', 'car']),
    );
    expect(said.stderr).toMatch(/cannot reach the cloud at https:\/\/127\.0\.0\.1:\d+: /);
    expect(said.code).toBe(EXIT.unreachable);
  });

  test.each(names)('%s: a certificate that has expired', async (name) => {
    const said = await run(line(name, [...atCloud(at('expired.pem'), at('expired-key.pem')), '--unit', 'car']));
    expect(said.stderr.replaceAll('\n', ' ')).toMatch(
      /expired\.pem has expired on 2021-.*ask whoever runs the cloud for a new one/,
    );
    expect(said.code).toBe(EXIT.failed);
  });

  test('those that need no cloud need no profile', async () => {
    for (const [name] of asking('nothing')) expect((await run(line(name, []))).code).toBe(EXIT.done);
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
