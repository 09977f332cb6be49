import 'reflect-metadata';
import { X509Certificate } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as x509 from '@peculiar/x509';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { makeCertificate, type TestIdentity } from '../../storage/certificates-for-tests.ts';
import { HandlerWorld } from './handler-for-tests.ts';

const DAY_MS = 86_400_000;

type Plugin = 'pkcs11module' | 'swmodule';

const TYPES = [
  { id: 'iam', maxItems: 2 },
  { id: 'offline', algorithm: 'rsa', maxItems: 3 },
];
const TOKEN_URL = expect.stringMatching(
  /^pkcs11:token=aoscore;object=iam;id=(%[0-9A-F]{2}){16}\?pin-source=.*\/\.usrpin$/,
);
const URLS = {
  pkcs11module: { certUrl: TOKEN_URL, keyUrl: TOKEN_URL },
  swmodule: {
    certUrl: expect.stringMatching(/^file:\/\/\/.*\/keys\/iam\.[0-9a-f]{32}\.crt$/),
    keyUrl: expect.stringMatching(/^file:\/\/\/.*\/keys\/iam\.[0-9a-f]{32}\.key$/),
  },
};
const KEYS = {
  pkcs11module: { kind: 'token', uri: expect.stringMatching(/type=private/) },
  swmodule: { kind: 'pem', pem: expect.stringMatching(/^-----BEGIN PRIVATE KEY-----/) },
};

let root: TestIdentity;
let world: HandlerWorld;

beforeAll(async () => {
  root = await makeCertificate('root', { ca: true });
});
afterEach(() => world.close());

async function begin(plugin: Plugin): Promise<void> {
  world = await HandlerWorld.create(TYPES, plugin);
  await world.start();
  await world.handler.own('password');
}

/** The chain for a request, valid for so many days from the world's now. */
async function sign(
  csr: string,
  days = 30,
  { issuer = root, serial }: { issuer?: TestIdentity; serial?: string } = {},
): Promise<string> {
  const request = new x509.Pkcs10CertificateRequest(csr);
  const notBefore = new Date(Date.UTC(2025, 0, 1));
  const leaf = await makeCertificate('unit-1', {
    issuer,
    ...(serial === undefined ? {} : { serial }),
    notBefore,
    notAfter: new Date(world.nowMs + days * DAY_MS),
    keys: { publicKey: await request.publicKey.export(), privateKey: root.keys.privateKey } as TestIdentity['keys'],
  });
  return `${leaf.pem}\n${issuer.pem}\n`;
}

async function renew(type: string, days: number) {
  return world.handler.applyCertificate(type, await sign(await world.handler.createKey(type, 'unit-1'), days));
}

describe.each<Plugin>(['pkcs11module', 'swmodule'])('[IAM-16] %s', (plugin) => {
  beforeEach(() => begin(plugin));

  describe('keys and certificates', () => {
    test('[IAM-09] [IAM-10] a key is made, its certificate stored beside it and found by its URL', async () => {
      const record = await renew('iam', 30);
      expect(record).toMatchObject(URLS[plugin]);
      expect(world.handler.get('iam')).toEqual(record);
      const identity = world.handler.identity('iam');
      expect(identity.certificateChain.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
      expect(identity.key).toMatchObject(KEYS[plugin]);
      expect(world.handler.hasPendingKeys).toBe(false);
    });

    test('[IAM-10] a certificate for another key is refused and costs nothing', async () => {
      const first = await renew('iam', 10);
      const second = await renew('iam', 20);
      const foreign = await makeCertificate('unit-1', { issuer: root });
      expect(() => world.handler.applyCertificate('iam', `${foreign.pem}\n${root.pem}`)).toThrow(
        expect.objectContaining({ code: 'notFound' }),
      );
      expect(world.store.certificates('iam')).toEqual([first, second]);
    });

    test('[IAM-10] applying the same certificate again succeeds and changes nothing', async () => {
      const pem = await sign(await world.handler.createKey('iam', 'unit-1'));
      const record = world.handler.applyCertificate('iam', pem);
      expect(world.handler.applyCertificate('iam', pem)).toEqual(record);
      expect(world.store.certificates('iam')).toHaveLength(1);
      expect(await world.count('certificate', 'iam')).toBe(1);
    });

    test('[IAM-11] by issuer and serial number an older certificate is found too', async () => {
      const older = await renew('offline', 10);
      const newer = await renew('offline', 20);
      expect(world.handler.get('offline')).toEqual(newer);
      expect(world.handler.get('offline', older.issuer, older.serial)).toEqual(older);
      const padded = Buffer.concat([Buffer.from([0]), older.serial]);
      expect(world.handler.get('offline', older.issuer, padded)).toEqual(older);
      expect(() => world.handler.get('offline', Buffer.from('other'), older.serial)).toThrow(/no certificate/);
      expect(() => world.handler.get('unknown')).toThrow(/unknown.*iam, offline/);
      expect(() => world.handler.get('iam')).toThrow(expect.objectContaining({ code: 'notFound' }));
    });

    test('[IAM-11] an authority that gives a serial number twice costs no type its certificate', async () => {
      const signed = async (type: string) =>
        world.handler.applyCertificate(
          type,
          await sign(await world.handler.createKey(type, 'unit-1'), 10, { serial: '01' }),
        );
      const [iam, offline, newer] = [await signed('iam'), await signed('offline'), await signed('offline')];
      for (let start = 0; start < 2; start += 1) {
        expect(world.handler.get('iam')).toEqual(iam);
        expect(world.handler.get('iam', offline.issuer, offline.serial)).toEqual(iam);
        expect(world.store.certificates('offline')).toEqual(expect.arrayContaining([offline, newer]));
        await world.start();
      }
    });

    test('[IAM-11] the chain of a certificate is that of its authority, also when one of the same name was there before', async () => {
      const [former, present] = [
        await makeCertificate('authority', { ca: true, serial: '01' }),
        await makeCertificate('authority', { ca: true, serial: '01' }),
      ];
      for (const issuer of [former, present]) {
        const days = issuer === former ? 10 : 20;
        world.handler.applyCertificate(
          'iam',
          await sign(await world.handler.createKey('iam', 'unit-1'), days, { issuer }),
        );
      }
      const [leaf, top] = world.handler
        .identity('iam')
        .certificateChain.match(/-----BEGIN[^-]*-----[^-]*-----END[^-]*-----/g)!
        .map((pem) => new X509Certificate(pem));
      expect(leaf!.verify(top!.publicKey)).toBe(true);
      expect(top!.raw).toEqual(present.der);
    });

    test('[IAM-13] above maxItems the one that expires first goes, with its key', async () => {
      const first = await renew('iam', 30);
      await renew('iam', 10);
      await renew('iam', 20);
      const left = world.store.certificates('iam').map(({ notAfterMs }) => (notAfterMs - world.nowMs) / DAY_MS);
      expect(left).toEqual([20, 30]);
      expect(world.handler.get('iam')).toEqual(first);
      expect(await world.count('privateKey', 'iam')).toBe(2);
      expect(await world.count('certificate', 'iam')).toBe(2);
    });

    test('a sixth waiting key replaces the oldest', async () => {
      const requests: string[] = [];
      for (let count = 0; count < 6; count += 1) requests.push(await world.handler.createKey('iam', 'unit-1'));
      expect(await world.count('privateKey', 'iam')).toBe(5);
      await expect(sign(requests[0]!).then((pem) => world.handler.applyCertificate('iam', pem))).rejects.toMatchObject({
        code: 'notFound',
      });
      world.handler.applyCertificate('iam', await sign(requests[5]!));
    });

    test('a chain that the unit does not trust is applied with a warning, or refused when that is wanted', async () => {
      world.complaint = 'not trusted';
      await renew('iam', 10);
      await world.start(true);
      const pem = await sign(await world.handler.createKey('iam', 'unit-1'));
      expect(() => world.handler.applyCertificate('iam', pem)).toThrow(/not trusted/);
      expect(world.store.certificates('iam')).toHaveLength(1);
    });
  });

  describe('subscriptions', () => {
    test('[IAM-12] whoever listens hears of a newer certificate, and of no other', async () => {
      await renew('iam', 10);
      const heard: string[] = [];
      const unsubscribe = world.handler.subscribe('iam', ({ certUrl }) => heard.push(certUrl));
      expect(world.handler.followers).toBe(1);
      const newer = await renew('iam', 20);
      await renew('offline', 20);
      await renew('iam', 15);
      expect(heard).toEqual([newer.certUrl]);
      unsubscribe();
      expect(world.handler.followers).toBe(0);
      await renew('iam', 40);
      expect(heard).toHaveLength(1);
    });

    test('[IAM-12] there must be a certificate to listen for', () => {
      expect(() => world.handler.subscribe('iam', () => undefined)).toThrow(
        expect.objectContaining({ code: 'notFound' }),
      );
    });

    test('there is room for 256 listeners', async () => {
      await renew('iam', 10);
      for (let count = 0; count < 256; count += 1) world.handler.subscribe('iam', () => undefined);
      expect(() => world.handler.subscribe('iam', () => undefined)).toThrow(
        expect.objectContaining({ code: 'noMemory' }),
      );
    });
  });

  describe('over restarts', () => {
    test('[IAM-17] a key that waits for its certificate outlives a restart, for 24 hours', async () => {
      const pem = await sign(await world.handler.createKey('iam', 'unit-1'));
      await world.start();
      expect(world.handler.hasPendingKeys).toBe(true);
      world.handler.applyCertificate('iam', pem);

      const late = await sign(await world.handler.createKey('iam', 'unit-1'));
      world.nowMs += DAY_MS;
      expect(() => world.handler.applyCertificate('iam', late)).toThrow(expect.objectContaining({ code: 'notFound' }));
      await world.start();
      expect(world.handler.hasPendingKeys).toBe(false);
      expect(await world.count('privateKey', 'iam')).toBe(1);
    });

    test('[X-21] a clock that jumps from 1970 does not age a waiting key', async () => {
      const today = world.nowMs;
      world.nowMs = 0;
      const csr = await world.handler.createKey('iam', 'unit-1');
      world.nowMs = today;
      await world.start();
      expect(world.handler.hasPendingKeys).toBe(true);
      world.handler.applyCertificate('iam', await sign(csr));
    });

    test('[IAM-17] what a crash left is removed before the next key is made', async () => {
      await renew('iam', 10);
      await world.handler.createKey('iam', 'unit-1');
      world.store.clearTypes(['iam']); // as if the database had been lost
      await world.start();
      expect(world.store.certificates('iam')).toHaveLength(1);
      expect(await world.count('privateKey', 'iam')).toBe(2);
      await world.handler.createKey('iam', 'unit-1');
      expect(await world.count('privateKey', 'iam')).toBe(2);
      expect(world.store.pendingKeys('iam')).toHaveLength(1);
    });

    test('[IAM-39] the database is rebuilt from what is there, to the byte', async () => {
      await renew('iam', 10);
      await renew('offline', 10);
      const before = world.store.certificates();
      world.store.clearTypes(['iam', 'offline']);
      await world.start();
      expect(world.store.certificates().sort(byUrl)).toEqual(before.sort(byUrl));
    });
  });

  describe('owning the place of the keys', () => {
    test('[IAM-26] everything is wiped, and the same password does it again', async () => {
      await renew('iam', 10);
      await world.handler.own('password');
      expect(world.store.certificates()).toEqual([]);
      expect(await world.count('privateKey')).toBe(0);
      await renew('iam', 10);
    });

    test('[IAM-26] with the password of the try before, another one takes its place', async () => {
      await renew('iam', 10);
      await world.handler.own('second', ['a guess', 'password']);
      expect(await world.count('privateKey')).toBe(0);
      await expect(world.handler.own('password')).rejects.toMatchObject({ code: 'wrongState' });
      await world.handler.own('second');
      await renew('iam', 10);
    });

    test('[IAM-26] another password is refused, and nothing is touched', async () => {
      const record = await renew('iam', 10);
      await expect(world.handler.own('other')).rejects.toMatchObject({
        code: 'wrongState',
        message: expect.stringMatching(/^(token|directory) ".*(aoscore|keys)" is owned with another password$/),
      });
      expect(world.handler.get('iam')).toEqual(record);
      expect(await world.count('privateKey', 'iam')).toBe(1);
    });

    test('[IAM-14] a self-signed type has its certificate at once, wherever it stands, and is hidden from the cloud', async () => {
      await world.close();
      world = await HandlerWorld.create(
        [{ id: 'diskencryption', algorithm: 'rsa', maxItems: 1, selfSigned: true }, { id: 'iam' }],
        plugin,
      );
      await world.start();
      await world.handler.own('password');
      expect(world.handler.get('diskencryption').notAfterMs).toBeGreaterThan(Date.UTC(2120, 0, 1));
      expect(world.handler.types()).toEqual(['diskencryption', 'iam']);
      expect(world.handler.types('provisioning')).toEqual(['iam']);
      await world.start();
      expect(world.handler.get('diskencryption').type).toBe('diskencryption');
    });
  });
});

describe('a token', () => {
  beforeEach(() => begin('pkcs11module'));

  test('the root is stored once, however many certificates it signs', async () => {
    await renew('iam', 10);
    await renew('offline', 10);
    expect(await world.count('certificate', '')).toBe(1);
  });

  test('[IAM-15] a token that is owned is opened with the PIN of the file, with or without a newline', async () => {
    await renew('iam', 10);
    const pinPath = join(world.directory, '.usrpin');
    const pin = await readFile(pinPath, 'utf8');
    expect(pin).toMatch(/^[0-9a-f]{30}$/);
    expect((await stat(pinPath)).mode & 0o777).toBe(0o600);
    await writeFile(pinPath, `${pin}\n`);
    await world.start();
    expect(world.handler.identity('iam').certificateChain).toMatch(/BEGIN/);
  });
});

describe('a token that fails in the middle', () => {
  beforeEach(() => begin('pkcs11module'));

  test('[IAM-17] of a key that could not be made nothing stays, neither in the token nor in the database', async () => {
    world.library.failNext('generateKeyPair', 0x31);
    await expect(world.handler.createKey('iam', 'unit-1')).rejects.toMatchObject({ code: 'runtime', exitCode: 0x31 });
    expect(world.store.pendingKeys('iam')).toEqual([]);
    expect(await world.count('publicKey')).toBe(0);
  });

  test('[IAM-17] nor of one whose request could not be signed', async () => {
    world.library.failNext('sign', 5);
    await expect(world.handler.createKey('iam', 'unit-1')).rejects.toMatchObject({ exitCode: 5 });
    expect(world.store.pendingKeys('iam')).toEqual([]);
    expect(world.handler.hasPendingKeys).toBe(false);
    expect(await world.count('privateKey')).toBe(0);
  });

  test('[IAM-17] what cannot be removed now is removed before the next key', async () => {
    world.library.failNext('sign', 5);
    world.library.failNext('destroy', 5);
    await expect(world.handler.createKey('iam', 'unit-1')).rejects.toMatchObject({ exitCode: 5 });
    expect(await world.count('privateKey')).toBe(1);
    await renew('iam', 10);
    expect(await world.count('privateKey')).toBe(1);
    expect(await world.count('publicKey')).toBe(1);
  });

  test('a session that was lost is opened again', async () => {
    world.library.failNext('generateKeyPair', 0xb3);
    await renew('iam', 10);
    expect(await world.count('privateKey')).toBe(1);
    expect(await world.count('publicKey')).toBe(1);
  });
});

const byUrl = (a: { certUrl: string }, b: { certUrl: string }) => a.certUrl.localeCompare(b.certUrl);
