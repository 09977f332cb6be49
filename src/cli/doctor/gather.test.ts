/** What `aosctl doctor` finds on this machine and in tokens; what it makes of it is in `diagnose.test.ts`. */
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AosError } from '../../core/index.ts';
import { ControlServer, checkHandlers } from '../../daemon/index.ts';
import { FakePkcs11 } from '../../platform/token/index.ts';
import { Context } from '../context.ts';
import { Terminal } from '../terminal.ts';
import { gatherFacts } from './gather-facts.ts';
import { listenersIn, lookAtPorts, portsOf } from './gather-ports.ts';
import { lookAtToken, tokensOf, type WantedToken } from './gather-tokens.ts';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aosctl-doctor-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

function contextAt(socket: string): Context {
  const silent = { write: () => undefined };
  const output = new Terminal({ stdout: silent, stderr: silent, env: {}, json: true });
  return new Context({ profile: { socket }, namesUnit: false, output, signal: new AbortController().signal });
}

describe('[P-08] ports', () => {
  test('are those of the configuration of the daemon itself, with keys in any case', () => {
    const ports = (file: string, config: object) =>
      portsOf(file, config as Record<string, unknown>).map((one) => one.port);
    expect(
      ports('/etc/aos/cm.cfg', { cmServerURL: ':8093', fileServerUrl: 'main:8094', iamPublicServerUrl: 'main:8090' }),
    ).toEqual([8093, 8094]);
    expect(ports('/etc/aos/sm.cfg', { cmServerUrl: 'main:8093' })).toEqual([]);
    expect(ports('/etc/aos/iam.cfg', { IAMPUBLICSERVERURL: '[::1]:8090', iamProtectedServerURL: 5 })).toEqual([8090]);
    expect(ports('/etc/aos/cm.cfg', { cmServerUrl: 'nonsense' })).toEqual([]);
  });

  test('that somebody listens on are found, with the process', async () => {
    const server: Server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as { port: number };
      const wanted = [
        { daemon: 'aos-cm', key: 'cmServerUrl', port },
        { daemon: 'aos-cm', key: 'fileServerUrl', port: 1 },
      ] as const;
      // Whose daemon has it needs no look into every process.
      expect(await lookAtPorts(wanted, () => true)).toEqual([wanted[0]]);
      const found = await lookAtPorts(wanted, () => false);
      expect(found).toEqual([
        {
          daemon: 'aos-cm',
          key: 'cmServerUrl',
          port,
          holder: { pid: process.pid, command: expect.stringMatching(/node/) },
        },
      ]);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  test('are read from the tables of the kernel; only listeners count', () => {
    const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F9D 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0
   1: 0100007F:1F9E 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 777 1 0 20 4 30 10 -1
`;
    expect([...listenersIn(table)]).toEqual([[8093, '12345']]);
  });
});

test('[P-08] a configuration is judged by the daemon that runs, and by its program where none does', async () => {
  const context = contextAt(join(directory, 'cm.sock'));
  const problemOf = async () =>
    (await gatherFacts(context, directory)).configs.find(({ path }) => path === file)?.problem;
  const file = join(directory, 'cm.cfg');
  await writeFile(file, '{"workingDir": "/var/aos"}');
  const judge = (text: string, path: string): string[] => {
    throw new AosError('invalidArgument', `${path}: ${text} is no good`);
  };
  const daemon = await ControlServer.open(join(directory, 'cm.sock'), checkHandlers({ config: judge }));
  try {
    expect(await problemOf()).toBe(`${file}: {"workingDir": "/var/aos"} is no good`);
  } finally {
    await daemon.stop();
  }
  expect(await problemOf()).toMatch(/aos-cm cannot be asked about|cm\.cfg/);
});

test('[P-08] what a further node has no configuration of is none of its daemons', async () => {
  const foreign = async () => {
    const { daemons } = await gatherFacts(contextAt(join(directory, 'cm.sock')), directory);
    return daemons.filter(({ isForeign }) => isForeign).map(({ name }) => name);
  };
  expect(await foreign()).toEqual([]);
  for (const name of ['iam.cfg', 'aos_servicemanager.cfg', 'their_manager.cfg'])
    await writeFile(join(directory, name), '{}');
  expect(await foreign()).toEqual(['aos-cm']);
});

describe('[P-08] a token', () => {
  const module = (params: object, more: object = {}) => ({ certModules: [{ id: 'iam', params, ...more }] });
  let library: FakePkcs11;
  let wanted: WantedToken;

  beforeEach(async () => {
    library = new FakePkcs11();
    const { slotId } = library.findBlank();
    library.initToken(slotId, 'officer', 'aoscore');
    library.initUserPin(slotId, 'officer', '1234');
    wanted = { library: '/lib.so', pinFile: join(directory, '.pin'), label: 'aoscore' };
    await writeFile(wanted.pinFile, '1234\n');
  });
  const look = (tries = true, more: Partial<WantedToken> = {}) =>
    lookAtToken({ ...wanted, ...more }, tries, () => library);

  test('is named by the configuration of IAM, each once, with keys in any case', () => {
    const params = { library: '/lib.so', userPinPath: '/pin', tokenLabel: 'aoscore' };
    expect(tokensOf(module(params))).toEqual([{ library: '/lib.so', pinFile: '/pin', label: 'aoscore' }]);
    expect(tokensOf({ CERTMODULES: [{ PARAMS: { LIBRARY: '/l', USERPINPATH: '/p', SLOTINDEX: 1 } }] })).toEqual([
      { library: '/l', pinFile: '/p', slotIndex: 1 },
    ]);
    expect(
      tokensOf({ certModules: [{ params }, { params }, { params, disabled: true }, 3, { params: null }] }),
    ).toHaveLength(1);
    expect(tokensOf({ certModules: 'none' })).toEqual([]);
  });

  test('that opens with the PIN of its file is fine', async () => {
    expect(await look()).toMatchObject({ state: 'fine', name: 'aoscore' });
  });

  test.each([
    ['no pin', async () => rm(wanted.pinFile)],
    ['empty pin', async () => writeFile(wanted.pinFile, '\n')],
    ['wrong pin', async () => writeFile(wanted.pinFile, '4321')],
    ['no token', async () => Object.assign(wanted, { label: 'other' })],
  ])('with %s is told apart from others', async (state, spoil) => {
    await spoil();
    expect(await look()).toMatchObject({ state });
  });

  test('is not tried again after a wrong PIN: each try may be one of the last', async () => {
    await writeFile(wanted.pinFile, '4321');
    await look();
    await writeFile(wanted.pinFile, '1234');
    const { open } = library;
    library.open = () => {
      throw new Error('it was tried');
    };
    expect(await look()).toMatchObject({ state: 'wrong pin' });
    library.open = open;
  });

  test('is not opened at all while IAM has it', async () => {
    const fact = await lookAtToken(wanted, false, () => {
      throw new Error('it was loaded');
    });
    expect(fact.state).toBe('fine');
  });

  test('of a library that cannot be loaded says so', async () => {
    const fact = await lookAtToken(wanted, true, () => {
      throw new AosError('notFound', 'cannot load /lib.so');
    });
    expect(fact).toMatchObject({ state: 'no library', detail: 'cannot load /lib.so' });
  });

  test('whose PIN file is closed to us is no fault of the node', async () => {
    await chmod(wanted.pinFile, 0);
    const isRoot = process.geteuid?.() === 0;
    // Nothing is closed to root.
    if (isRoot) process.seteuid?.('nobody');
    try {
      expect(await look()).toMatchObject({ state: 'closed pin' });
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });
});
