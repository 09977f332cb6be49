import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { iam } from '../api/contracts.ts';
import { ApiServer } from '../api/index.ts';
import { AosError, type Clock, Mailbox, silentLogger, systemClock } from '../core/index.ts';
import { FakePkcs11, formatTokenUrl } from '../platform/token/index.ts';
import { makeCertificate, type TestIdentity } from '../storage/certificates-for-tests.ts';
import { type CertificateUrls, IamCredentials } from './index.ts';

const ID = Buffer.from('0102', 'hex');
/** Pauses are over at once. */
const hurried: Clock = { ...systemClock, sleep: (_, signal) => systemClock.sleep(1, signal) };

let directory: string;
let root: TestIdentity;
let server: ApiServer;
let abort: AbortController;
let answer: { certUrl: string; keyUrl: string };
let changes: Mailbox<{ type: string; certUrl: string; keyUrl: string }>;
/** Subscriptions that are open at IAM. */
let subscriptions: number;
let refusals: number;
/** One entry for each `GetCert` that was answered. */
let asked: Mailbox<string>;
const token = new FakePkcs11('/fake.so');

const keyPem = (identity: TestIdentity) => identity.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;

async function startServer(listen = '127.0.0.1:0'): Promise<void> {
  const identity = await makeCertificate('iam', { issuer: root, dnsName: 'localhost' });
  server = await ApiServer.open({
    listen,
    tls: {
      identity: { certificateChain: identity.pem, key: { kind: 'pem', pem: keyPem(identity) } },
      ca: root.pem,
      clientCertificate: 'none',
    },
    logger: silentLogger,
    routes: (router) =>
      router.service(iam.IAMPublicCertService, {
        getCert: ({ type }) => {
          if (type !== 'cm') refusals += 1;
          if (type !== 'cm') throw new AosError('notFound', `no certificate of type "${type}"`);
          asked.push(type);
          return { type, ...answer };
        },
        async *subscribeCertChanged(_, { signal }) {
          subscriptions += 1;
          signal.addEventListener('abort', () => {
            subscriptions -= 1;
          });
          yield* changes;
        },
      }),
  });
}

const stale: string[] = [];

function credentials(loadLibrary: () => FakePkcs11 = () => token): IamCredentials {
  return new IamCredentials({
    publicAddress: `localhost:${server.address.port}`,
    caFile: join(directory, 'ca.pem'),
    logger: silentLogger,
    signal: abort.signal,
    clock: hurried,
    loadLibrary,
    onStaleToken: (reason) => stale.push(reason),
  });
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-credentials-'));
  root = await makeCertificate('root', { ca: true });
  await writeFile(join(directory, 'ca.pem'), root.pem);
  const cm = await makeCertificate('cm', { issuer: root });
  await writeFile(join(directory, 'cm.pem'), cm.pem);
  await writeFile(join(directory, 'cm-key.pem'), keyPem(cm));
  answer = { certUrl: `file:${join(directory, 'cm.pem')}`, keyUrl: `file:${join(directory, 'cm-key.pem')}` };
  changes = new Mailbox(16);
  asked = new Mailbox(64);
  abort = new AbortController();
  stale.length = 0;
  subscriptions = 0;
  refusals = 0;
  await startServer();
});

afterEach(async () => {
  abort.abort();
  changes.close();
  await server.close();
  await rm(directory, { recursive: true });
});

test('a certificate in files is read from them', async () => {
  const identity = await credentials().identity('cm');
  expect(identity.certificateChain).toMatch(/BEGIN CERTIFICATE/);
  expect(identity.key.kind).toBe('pem');
});

test('[IAM-11] a key in a token is named for the TLS engine, its chain is read from the token', async () => {
  const { slotId } = token.findBlank();
  token.initToken(slotId, 'officer', 'aoscore');
  token.initUserPin(slotId, 'officer', 'secret pin');
  const session = token.open(slotId, 'secret pin');
  const leaf = await makeCertificate('leaf', { issuer: root });
  session.importCertificate(leaf.der, ID, 'cm');
  session.importCertificate(root.der, Buffer.from([9]), '');
  await writeFile(join(directory, 'pin'), 'secret pin');
  const url = { token: 'aoscore', object: 'cm', id: ID, modulePath: '/fake.so', pinSource: join(directory, 'pin') };
  answer = { certUrl: formatTokenUrl(url), keyUrl: formatTokenUrl(url) };
  const identity = await credentials().identity('cm');
  expect(identity.certificateChain.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
  expect(identity.key).toEqual({
    kind: 'token',
    uri: `pkcs11:token=aoscore;object=cm;id=%01%02;type=private?pin-source=file:${encodeURIComponent(join(directory, 'pin'))}`,
  });
});

test('a token that was of use and does not hold the new key asks for a new process, once', async () => {
  await writeFile(join(directory, 'pin'), 'secret pin');
  const url = { token: 'aoscore', object: 'cm', id: ID, modulePath: '/fake.so', pinSource: join(directory, 'pin') };
  const files = answer;
  const source = credentials();
  const newKey = formatTokenUrl({ ...url, id: Buffer.from('ffff', 'hex') });
  answer = { certUrl: newKey, keyUrl: newKey };
  await expect(source.identity('cm')).rejects.toThrow(/no certificate "cm"/);
  expect(stale).toEqual([]);
  answer = { certUrl: formatTokenUrl(url), keyUrl: formatTokenUrl(url) };
  await source.identity('cm');
  answer = { certUrl: newKey, keyUrl: newKey };
  for (let round = 0; round < 3; round += 1) await expect(source.identity('cm')).rejects.toThrow();
  expect(stale).toEqual([expect.stringMatching(/cannot use the certificate "cm"/)]);
  answer = files;
});

test('a library that missed the token when it was opened is opened anew, as long as no key of it is in use', async () => {
  await writeFile(join(directory, 'pin'), 'secret pin');
  const url = { token: 'aoscore', object: 'cm', id: ID, modulePath: '/fake.so', pinSource: join(directory, 'pin') };
  answer = { certUrl: formatTokenUrl(url), keyUrl: formatTokenUrl(url) };
  const opened: FakePkcs11[] = [];
  const source = credentials(() => {
    // What SoftHSM sees of a token that another process is writing: nothing.
    opened.push(opened.length < 3 ? new FakePkcs11() : token);
    return opened.at(-1)!;
  });
  await expect(source.identity('cm')).rejects.toThrow(/no token labelled "aoscore"/);
  await expect(source.identity('cm')).rejects.toThrow(/no token labelled "aoscore"/);
  expect((await source.identity('cm')).key.kind).toBe('token');
  expect(opened).toHaveLength(4);
  expect(stale).toEqual([]);
});

test('a wrong PIN is said before a handshake fails, and is not in the text', async () => {
  await writeFile(join(directory, 'pin'), 'guessed');
  const url = { token: 'aoscore', object: 'cm', id: ID, modulePath: '/fake.so', pinSource: join(directory, 'pin') };
  answer = { certUrl: formatTokenUrl(url), keyUrl: formatTokenUrl(url) };
  const failure = await credentials()
    .identity('cm')
    .catch((error: Error) => error);
  expect((failure as Error).message).toMatch(/cannot use the certificate "cm": cannot open the token "aoscore"/);
  expect((failure as Error).message).not.toMatch(/guessed/);
});

test('a wrong PIN is not tried again with each connection, until its file has another one', async () => {
  const own = new FakePkcs11('/own.so');
  const { slotId } = own.findBlank();
  own.initToken(slotId, 'officer', 'aoscore');
  own.initUserPin(slotId, 'officer', 'right');
  const leaf = await makeCertificate('leaf', { issuer: root });
  const session = own.open(slotId, 'right');
  session.importCertificate(leaf.der, ID, 'cm');
  session.importCertificate(root.der, Buffer.from([9]), '');
  const tried: (string | undefined)[] = [];
  const open = own.open.bind(own);
  own.open = (slot, pin) => {
    tried.push(pin);
    return open(slot, pin);
  };
  const pinSource = join(directory, 'pin');
  const url = formatTokenUrl({ token: 'aoscore', object: 'cm', id: ID, modulePath: '/own.so', pinSource });
  answer = { certUrl: url, keyUrl: url };
  await writeFile(pinSource, 'guessed');
  const source = credentials(() => own);
  await expect(source.identity('cm')).rejects.toThrow('PIN_INCORRECT');
  for (let round = 0; round < 3; round += 1) {
    await expect(source.identity('cm')).rejects.toThrow(
      `token "aoscore" has refused the PIN in ${pinSource}; it is not tried again`,
    );
  }
  expect(tried).toEqual(['guessed']);
  await writeFile(pinSource, 'right');
  expect((await source.identity('cm')).key.kind).toBe('token');
});

test('an unknown type is refused with the words of IAM', async () => {
  await expect(credentials().identity('xy')).rejects.toThrow(/certificate "xy": no certificate of type "xy"/);
});

test('[IAM-12] a change is told once, also when IAM restarted in between', async () => {
  const told = new Mailbox<CertificateUrls>(16);
  const source = credentials();
  const stop = source.onChange('cm', (urls) => told.push(urls));
  const heard = told[Symbol.asyncIterator]();
  await asked[Symbol.asyncIterator]().next();
  const changed = { ...answer, certUrl: 'file:/elsewhere' };
  const { port } = server.address;
  answer = changed;
  changes.push({ type: 'cm', ...changed });
  expect((await heard.next()).value).toMatchObject({ certUrl: 'file:/elsewhere' });

  await server.close();
  changes = new Mailbox(16);
  answer = { ...changed, certUrl: 'file:/third' };
  await startServer(`127.0.0.1:${port}`);
  expect((await heard.next()).value).toMatchObject({ certUrl: 'file:/third' });
  expect(told.size).toBe(0);
  stop();
});

test('[IAM-12] all who listen to one certificate share a subscription, which ends with the last of them', async () => {
  const source = credentials();
  const told = new Mailbox<string>(16);
  const listening = ['first', 'second'].map((name) => source.onChange('cm', () => told.push(name)));
  const heard = told[Symbol.asyncIterator]();
  const answered = asked[Symbol.asyncIterator]();
  await answered.next();
  changes.push({ type: 'cm', ...answer, certUrl: 'file:/elsewhere' });
  expect([(await heard.next()).value, (await heard.next()).value]).toEqual(['first', 'second']);
  listening[0]!();
  changes.push({ type: 'cm', ...answer, certUrl: 'file:/third' });
  expect((await heard.next()).value).toBe('second');
  expect(subscriptions).toBe(1);
  listening[1]!();
  await expect.poll(() => subscriptions).toBe(0);

  changes = new Mailbox(16);
  const again = source.onChange('cm', () => told.push('again'));
  await answered.next();
  changes.push({ type: 'cm', ...answer, certUrl: 'file:/fourth' });
  expect((await heard.next()).value).toBe('again');
  again();
});

test('[IAM-12] tries to follow a certificate that IAM cannot tell do not fill IAM with subscriptions', async () => {
  const source = credentials();
  const stop = source.onChange('other', () => undefined);
  try {
    await expect.poll(() => refusals, { timeout: 60_000 }).toBeGreaterThan(5);
    expect(subscriptions).toBeLessThan(3);
  } finally {
    stop();
  }
});
