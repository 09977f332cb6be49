/** What `aosctl doctor` finds on this machine and in tokens; what it makes of it is in `diagnose.test.ts`. */
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AosError } from '../../core/index.ts';
import { ControlServer, checkHandlers } from '../../daemon/index.ts';
import { FakePkcs11 } from '../../platform/token/index.ts';
import { makeCertificate } from '../../storage/certificates-for-tests.ts';
import { Context } from '../context.ts';
import { Terminal } from '../terminal.ts';
import { diagnose } from './diagnose.ts';
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

test('[P-08] what is no configuration of its own is judged by the daemon that reads it, too', async () => {
  const file = join(directory, 'resources.cfg');
  await writeFile(file, '[]');
  const judge = (text: string, path: string): string[] => {
    throw new AosError('invalidArgument', `${path}: ${text} are no resources`);
  };
  const sm = await ControlServer.open(join(directory, 'sm.sock'), checkHandlers({ resources: judge }));
  const { configs } = await gatherFacts(contextAt(join(directory, 'cm.sock')), directory);
  await sm.stop();
  expect(configs.find(({ path }) => path === file)?.problem).toBe(`${file}: [] are no resources`);
});

test('[P-08] how long certificates in files are valid is known while IAM is away', async () => {
  const keys = join(directory, 'keys');
  await mkdir(keys, { mode: 0o700 });
  const keep = async (id: string, notAfter: Date) => {
    const { privateKey, pem } = await makeCertificate('sm', { notBefore: new Date(0), notAfter });
    const text = privateKey.export({ type: 'pkcs8', format: 'pem' });
    await writeFile(join(keys, `sm.${id.repeat(32)}.key`), text, { mode: 0o600 });
    await writeFile(join(keys, `sm.${id.repeat(32)}.crt`), pem);
  };
  await keep('1', new Date('2020-06-01'));
  await keep('2', new Date('2021-06-01'));
  const module = { id: 'sm', plugin: 'swmodule', algorithm: 'ecc', params: { directory: keys } };
  await writeFile(join(directory, 'iam.cfg'), JSON.stringify({ certModules: [module] }));
  // It judges its configuration and says nothing else: IAM is not up yet.
  const iam = await ControlServer.open(join(directory, 'iam.sock'), checkHandlers({ config: () => [] }));
  const findings = diagnose(await gatherFacts(contextAt(join(directory, 'cm.sock')), directory));
  await iam.stop();
  expect(findings.filter(({ check }) => check === 'certificate sm')).toEqual([
    expect.objectContaining({ level: 'fault', found: 'expired on 2021-06-01T00:00:00.000Z' }),
  ]);
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

test('[P-08] a further node knows whether it reaches the main node, and why not', async () => {
  const answers = {
    iam: { mode: 'normal', certificates: [], mainIam: { state: 'waiting', address: 'main:8089', lastError: 'no way' } },
    sm: { cm: { state: 'connected' } },
  };
  const servers = await Promise.all(
    Object.entries(answers).map(([name, answer]) =>
      ControlServer.open(join(directory, `${name}.sock`), { '/status': () => answer }),
    ),
  );
  const { mainLinks } = await gatherFacts(contextAt(join(directory, 'cm.sock')), directory);
  for (const server of servers) await server.stop();
  expect(mainLinks).toEqual([
    { daemon: 'aos-iam', to: 'the IAM of the main node at main:8089', isConnected: false, error: 'no way' },
    { daemon: 'aos-sm', to: 'aos-cm', isConnected: true },
  ]);
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
    wanted = { library: '/lib.so', pinFile: join(directory, '.pin'), types: ['cm', 'iam'], label: 'aoscore' };
    await writeFile(wanted.pinFile, '1234\n');
  });
  const look = (tries = true, more: Partial<WantedToken> = {}) =>
    lookAtToken({ ...wanted, ...more }, tries, () => library);

  test('is named by the configuration of IAM, each once, with keys in any case', () => {
    const params = { library: '/lib.so', userPinPath: '/pin', tokenLabel: 'aoscore' };
    const aoscore = { library: '/lib.so', pinFile: '/pin', label: 'aoscore' };
    expect(tokensOf(module(params))).toEqual([{ ...aoscore, types: ['iam'] }]);
    expect(tokensOf({ CERTMODULES: [{ PARAMS: { LIBRARY: '/l', USERPINPATH: '/p', SLOTINDEX: 1 } }] })).toEqual([
      { library: '/l', pinFile: '/p', types: [], slotIndex: 1 },
    ]);
    const modules = [
      ...[{ id: 'cm', params }, { id: 'sm', params }, { id: 'old', params, disabled: true }, 3],
      { id: 'x', params: null },
    ];
    expect(tokensOf({ certModules: modules })).toEqual([{ ...aoscore, types: ['cm', 'sm'] }]);
    expect(tokensOf({ certModules: 'none' })).toEqual([]);
  });

  test('that opens with the PIN of its file is fine', async () => {
    expect(await look()).toMatchObject({ state: 'fine', name: 'aoscore' });
  });

  test('tells the certificates that lie in it beside their keys', async () => {
    const session = library.open(library.find({ label: 'aoscore' }).slotId, '1234');
    const keep = async (label: string, id: string, year: number, hasKey = true) => {
      const { der } = await makeCertificate(label, { notAfter: new Date(Date.UTC(year, 0)) });
      if (hasKey) await session.generateKeyPair({ kind: 'ec', curve: 'P-384' }, Buffer.from(id), label);
      session.importCertificate(der, Buffer.from(id), label);
    };
    await keep('cm', 'old', 2031);
    await keep('cm', 'new', 2032);
    await keep('cm', 'issuer', 2040, false);
    await keep('of a type that is configured no more', 'gone', 2033);
    await keep('iam', 'torn', 2034);
    session.close();
    const { open } = library;
    library.open = (...given) => {
      const opened = open.apply(library, given);
      const { certificate } = opened;
      opened.certificate = (object) =>
        object.label === 'iam' ? Buffer.from('torn') : certificate.call(opened, object);
      return opened;
    };
    const of = (year: number) => ({ type: 'cm', notAfter: `${year}-01-01T00:00:00.000Z` });
    expect((await look()).certificates).toEqual([of(2031), of(2032)]);
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
