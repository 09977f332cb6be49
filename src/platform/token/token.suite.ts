/** What every token does; the real library and its fake pass the same. */
import { createPublicKey, publicEncrypt, verify } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { makeCertificate, type TestIdentity } from '../../storage/certificates-for-tests.ts';
import { type Pkcs11Library, readChain, type TokenSession } from './index.ts';

const ID = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
const SLOW_ID = Buffer.from('22112233445566778899aabbccddeeff', 'hex');
const OTHER_ID = Buffer.from('ff112233445566778899aabbccddeeff', 'hex');

export function tokenSuite(name: string, make: () => Pkcs11Library): void {
  describe(name, () => {
    let library: Pkcs11Library;
    let session: TokenSession;
    let root: TestIdentity;
    let leaf: TestIdentity;

    beforeAll(async () => {
      library = make();
      const { slotId } = library.findBlank();
      library.initToken(slotId, 'officer', 'aoscore');
      library.initUserPin(library.find({ label: 'aoscore' }).slotId, 'officer', '1234');
      session = library.open(library.find({ label: 'aoscore' }).slotId, '1234');
      root = await makeCertificate('root', { ca: true });
      leaf = await makeCertificate('leaf', { issuer: root });
    });

    test('a token is found by its label, and one that is not there is named with those that are', () => {
      expect(library.find({ label: 'aoscore' })).toMatchObject({ initialized: true, userPinInitialized: true });
      expect(() => library.find({ label: 'other' })).toThrow(/no token labelled "other"/);
    });

    test('with the officer PIN of before it gets another one, and takes that from then on', () => {
      session.close();
      const { slotId } = library.find({ label: 'aoscore' });
      expect(() => library.setOfficerPin(slotId, 'wrong officer', 'other')).toThrow();
      library.setOfficerPin(slotId, 'officer', 'other officer');
      expect(() => library.initToken(slotId, 'officer', 'aoscore')).toThrow();
      library.setOfficerPin(slotId, 'other officer', 'officer');
      session = library.open(slotId, '1234');
    });

    test('a wrong security officer PIN leaves the token as it is', () => {
      session.close();
      const { slotId } = library.find({ label: 'aoscore' });
      expect(() => library.initToken(slotId, 'wrong officer', 'stolen')).toThrow();
      expect(library.find({ label: 'aoscore' }).slotId).toBe(slotId);
      session = library.open(slotId, '1234');
    });

    test('a wrong user PIN is remembered by the token until the right one comes', () => {
      session.close();
      const { slotId, userPin } = library.find({ label: 'aoscore' });
      expect(userPin).toBe('fine');
      expect(() => library.open(slotId, '4321')).toThrow();
      expect(library.find({ label: 'aoscore' }).userPin).toBe('failed');
      session = library.open(slotId, '1234');
      expect(library.find({ label: 'aoscore' }).userPin).toBe('fine');
    });

    test('[IAM-09] an RSA key signs and decrypts, and cannot be read', async () => {
      await session.generateKeyPair({ kind: 'rsa', bits: 2048 }, ID, 'offline');
      const [privateKey] = session.list({ kind: 'privateKey', id: ID });
      const [publicKey] = session.list({ kind: 'publicKey', label: 'offline' });
      const key = createPublicKey({ key: session.publicKey(publicKey!), format: 'der', type: 'spki' });
      expect(verify('sha256', Buffer.from('text'), key, session.sign(privateKey!, Buffer.from('text')))).toBe(true);
      const secret = publicEncrypt({ key, padding: 1 }, Buffer.from('a key of a blob'));
      expect(session.decrypt(privateKey!, secret, 'pkcs1').toString()).toBe('a key of a blob');
    });

    test('an EC key signs, and its public half can be read', async () => {
      await session.generateKeyPair({ kind: 'ec', curve: 'P-384' }, OTHER_ID, 'iam');
      const [privateKey] = session.list({ kind: 'privateKey', id: OTHER_ID });
      const [publicKey] = session.list({ kind: 'publicKey', id: OTHER_ID });
      const key = createPublicKey({ key: session.publicKey(publicKey!), format: 'der', type: 'spki' });
      expect(verify('sha384', Buffer.from('text'), key, session.sign(privateKey!, Buffer.from('text')))).toBe(true);
    });

    test('a certificate is read back with its chain, and its absence is named', () => {
      session.importCertificate(leaf.der, OTHER_ID, 'iam');
      expect(() => readChain(session, { object: 'iam', id: OTHER_ID })).toThrow(/no issuer of/);
      session.importCertificate(root.der, ID, '');
      expect(readChain(session, { object: 'iam', id: OTHER_ID })).toEqual([leaf.der, root.der]);
      expect(() => readChain(session, { object: 'iam', id: ID })).toThrow(/no certificate "iam"/);
    });

    test('while a key is made, the session serves others', async () => {
      const made = session.generateKeyPair({ kind: 'rsa', bits: 2048 }, SLOW_ID, 'slow');
      // In the same turn, so before the key is there.
      for (let round = 0; round < 20; round += 1) expect(session.list({ id: ID }).length).toBeGreaterThan(0);
      await made;
      expect(
        session
          .list({ id: SLOW_ID })
          .map(({ kind }) => kind)
          .sort(),
      ).toEqual(['privateKey', 'publicKey']);
    });

    test('what is destroyed is gone', () => {
      for (const object of session.list({ id: OTHER_ID })) session.destroy(object);
      expect(session.list({ id: OTHER_ID })).toEqual([]);
      expect(session.list({ id: ID }).map((object) => object.kind)).toContain('privateKey');
    });
  });
}
