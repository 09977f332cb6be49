/** What is peculiar to keys in files; what they share with tokens is in `certificate-handler.test.ts`. */
import 'reflect-metadata';
import { chmod, mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, createSecureContext, createServer } from 'node:tls';
import * as x509 from '@peculiar/x509';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { identityOptions } from '../../api/index.ts';
import { makeCertificate, type TestIdentity } from '../../storage/certificates-for-tests.ts';
import { HandlerWorld } from './handler-for-tests.ts';

let root: TestIdentity;
let world: HandlerWorld;

beforeAll(async () => {
  root = await makeCertificate('root', { ca: true });
});
beforeEach(async () => {
  world = await HandlerWorld.create(
    [
      { id: 'iam', alternativeNames: ['localhost'], extendedKeyUsage: ['serverAuth', 'clientAuth'] },
      { id: 'offline', algorithm: 'rsa' },
    ],
    'swmodule',
  );
  await world.start();
  await world.handler.own('password');
});
afterEach(() => world.close());

async function renew(type: string) {
  const request = new x509.Pkcs10CertificateRequest(await world.handler.createKey(type, 'localhost'));
  const leaf = await makeCertificate('localhost', {
    issuer: root,
    keys: { publicKey: await request.publicKey.export(), privateKey: root.keys.privateKey } as TestIdentity['keys'],
  });
  return world.handler.applyCertificate(type, `${leaf.pem}\n${root.pem}\n`);
}

const pathOf = (url: string) => url.slice('file://'.length);
const modeOf = async (path: string) => ((await stat(path)).mode & 0o777).toString(8);
const names = async () => (await readdir(world.keys)).sort();

test('[IAM-16] [IAM-09] a key file has mode 0600, whatever the umask; its request is as configured', async () => {
  const before = process.umask(0o277);
  try {
    const request = new x509.Pkcs10CertificateRequest(await world.handler.createKey('iam', 'unit-1'));
    expect(await request.verify()).toBe(true);
    const usage = request.extensions.find((one) => one instanceof x509.ExtendedKeyUsageExtension);
    expect(usage?.usages).toEqual(['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    expect(request.extensions.some((one) => one instanceof x509.SubjectAlternativeNameExtension)).toBe(true);
    const { keyUrl, certUrl } = await renew('offline');
    expect(await modeOf(pathOf(keyUrl))).toBe('600');
    expect(await modeOf(pathOf(certUrl))).toBe('644');
  } finally {
    process.umask(before);
  }
  const [keyFile] = (await names()).filter((name) => name.startsWith('iam.'));
  expect(await modeOf(join(world.keys, keyFile!))).toBe('600');
  expect(await modeOf(world.keys)).toBe('700');
  expect(await modeOf(join(world.keys, 'owner'))).toBe('600');
  expect(await readFile(join(world.keys, 'owner'), 'utf8')).not.toContain('password');
});

test.each(['iam', 'offline'])('[IAM-16] [IAM-12] TLS uses the key "%s" that is a file', async (type) => {
  await renew(type);
  const { certificateChain, key } = world.handler.identity(type);
  const server = createServer(identityOptions({ certificateChain, key }), (socket) => socket.end('hello'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = server.address() as { port: number };
    const socket = connect({ port, secureContext: createSecureContext({ ca: root.pem }), servername: 'localhost' });
    const heard: Buffer[] = [];
    for await (const chunk of socket.on('secureConnect', () => expect(socket.authorized).toBe(true))) heard.push(chunk);
    expect(Buffer.concat(heard).toString()).toBe('hello');
  } finally {
    server.close();
  }
});

test('[IAM-16] a key file that others may read is refused with both modes named, and used again when it is closed', async () => {
  const { keyUrl } = await renew('iam');
  const path = pathOf(keyUrl);
  await chmod(path, 0o644);
  const refusal = expect.objectContaining({
    code: 'invalidArgument',
    message: expect.stringContaining(`${path} has mode 644, expected 600`),
  });
  expect(() => world.handler.identity('iam')).toThrow(refusal);
  await expect(world.start()).rejects.toEqual(refusal);
  await chmod(path, 0o600);
  await world.start();
  expect(world.handler.get('iam').keyUrl).toBe(keyUrl);
});

test('[IAM-16] a link in the place of a key is not followed', async () => {
  const path = pathOf((await renew('iam')).keyUrl);
  await rename(path, join(world.directory, 'elsewhere'));
  await symlink(join(world.directory, 'elsewhere'), path);
  await expect(world.start()).rejects.toMatchObject({ message: expect.stringMatching(/is no regular file/) });
});

test.each<[string, (files: { key: string; crt: string }) => Promise<void>]>([
  ['a key file that holds no key', ({ key }) => writeFile(key, 'garbage', { mode: 0o600 })],
  ['a certificate file that holds none', ({ crt }) => writeFile(crt, 'garbage')],
  ['a certificate without its key', ({ key }) => rm(key)],
  ['a key without its certificate', ({ crt }) => rm(crt)],
  [
    'the certificate of another key',
    async ({ crt }) => writeFile(crt, (await makeCertificate('localhost', { issuer: root })).pem),
  ],
])('[IAM-16] [IAM-17] %s is found at the start, and removed before the next key is made', async (_, spoil) => {
  const { keyUrl, certUrl } = await renew('iam');
  await spoil({ key: pathOf(keyUrl), crt: pathOf(certUrl) });
  await writeFile(join(world.keys, '.tmp-iam.key-0123'), 'half');
  await writeFile(join(world.keys, 'notes.txt'), 'of somebody else');
  await world.start();
  expect(world.store.certificates('iam')).toEqual([]);
  expect(() => world.handler.get('iam')).toThrow(expect.objectContaining({ code: 'notFound' }));
  const next = await renew('iam');
  expect(await names()).toEqual(
    [next.certUrl, next.keyUrl, 'notes.txt', 'owner'].map((path) => path.slice(path.lastIndexOf('/') + 1)).sort(),
  );
});

test('[IAM-16] [IAM-26] provisioned again, files of types that are configured no more are gone as well', async () => {
  await renew('iam');
  await writeFile(join(world.keys, `cm.${'0'.repeat(32)}.key`), 'old', { mode: 0o600 });
  await world.handler.own('password');
  expect(await names()).toEqual(['owner']);
});

test('[IAM-16] a damaged record of the owner is told, and nothing is wiped', async () => {
  await renew('iam');
  const before = await names();
  await writeFile(join(world.keys, 'owner'), 'x');
  await expect(world.handler.own('password')).rejects.toMatchObject({
    code: 'wrongState',
    message: expect.stringMatching(/owner is damaged; remove it/),
  });
  expect(await names()).toEqual(before);
});

test('[IAM-16] [IAM-17] of a key that cannot be written nothing stays', async () => {
  await rename(world.keys, `${world.keys}.away`);
  await expect(world.handler.createKey('iam', 'unit-1')).rejects.toMatchObject({
    code: 'notFound',
    message: expect.stringMatching(/^cannot write .*\/keys\/iam\.[0-9a-f]{32}\.key: ENOENT/),
  });
  expect(world.store.pendingKeys('iam')).toEqual([]);
  await rename(`${world.keys}.away`, world.keys);
  await renew('iam');
  expect(await world.count('privateKey')).toBe(1);
});

test('[IAM-16] keys that are gone while the program runs are told as a token that is gone', async () => {
  await renew('iam');
  world.handler.checkTokens();
  await rm(world.keys, { recursive: true });
  expect(() => world.handler.checkTokens()).toThrow(/directory ".*keys" with the keys of this node is gone/);
});

test.each<[string, () => Promise<void>, RegExp]>([
  ['others may write to', () => chmod(world.keys, 0o777), /keys has mode 777, expected 700/],
  [
    'is a file',
    async () => {
      await rm(world.keys, { recursive: true });
      await writeFile(world.keys, '');
    },
    /keys is no directory/,
  ],
])('[IAM-16] a directory that %s is refused', async (_, spoil, words) => {
  await spoil();
  await expect(world.start()).rejects.toMatchObject({ code: 'invalidArgument', message: expect.stringMatching(words) });
});

test('[IAM-16] a blank node needs no directory; it is made when the node is provisioned', async () => {
  await rm(world.keys, { recursive: true });
  await world.start();
  expect(world.handler.records()).toEqual([]);
  await mkdir(world.keys, { mode: 0o700 });
  await world.start();
  await world.handler.own('another');
  await renew('iam');
});
