import { constants, sign, X509Certificate } from 'node:crypto';
import 'reflect-metadata';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { isAosError, readDer, readDerSequence } from '../core/index.ts';
import { verifyChain } from './certificate-chain.ts';
import { makeCertificate, makeKeys, type TestCertificateOptions, type TestIdentity } from './certificates-for-tests.ts';
import { checkSignature, claimedTimeBounds, parseCertificates, type SignatureTrust, type SignInfo } from './index.ts';

const CONTENT = Buffer.from('the plain content of a blob');
const DAY_MS = 86_400_000;

let root: TestIdentity;
let intermediate: TestIdentity;
let rsa: TestIdentity;
let ec: TestIdentity;

beforeAll(async () => {
  root = await makeCertificate('Root', { ca: true });
  intermediate = await makeCertificate('Intermediate', { ca: true, issuer: root, pathLength: 0 });
  rsa = await makeCertificate('RSA signer', { issuer: intermediate, keys: await makeKeys('rsa') });
  ec = await makeCertificate('EC signer', { issuer: intermediate });
});

function trustIn(signer: TestIdentity, change: Partial<SignatureTrust> = {}): SignatureTrust {
  return {
    certificates: [
      { fingerprint: 'AA', der: signer.der },
      { fingerprint: 'BB', der: intermediate.der },
    ],
    chains: [{ name: 'items', fingerprints: ['aa', 'bb'] }],
    roots: parseCertificates(root.pem),
    claimedTime: claimedTimeBounds(new Date()),
    ...change,
  };
}

function info(alg: string, value: Uint8Array, change: Partial<SignInfo> = {}): SignInfo {
  return { chainName: 'items', alg, value, trustedTimestamp: new Date(), ...change };
}

function accepts(signed: SignInfo, trust: SignatureTrust, content: Buffer = CONTENT): void {
  const check = checkSignature(signed, trust);
  check.update(content.subarray(0, 5));
  check.update(content.subarray(5));
  check.verify();
}

const raw = (hash: string) => sign(hash, CONTENT, { key: ec.privateKey, dsaEncoding: 'ieee-p1363' });
const pss = (hash: string) => sign(hash, CONTENT, { key: rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING });

describe('[CM-45] a signature is accepted', () => {
  test('in every form that a cloud may write', () => {
    accepts(info('RSA/SHA256/PKCS1v1_5', sign('sha256', CONTENT, rsa.privateKey)), trustIn(rsa));
    accepts(info('rsa', sign('sha256', CONTENT, rsa.privateKey)), trustIn(rsa));
    accepts(info('RSA/SHA384', sign('sha384', CONTENT, rsa.privateKey)), trustIn(rsa));
    accepts(info('RSA/SHA512/unknown', sign('sha512', CONTENT, rsa.privateKey)), trustIn(rsa));
    accepts(info('RSA/SHA256/PSS', pss('sha256')), trustIn(rsa));
    accepts(info('EC/SHA256', sign('sha256', CONTENT, ec.privateKey)), trustIn(ec));
    accepts(info('ECDSA/SHA256', raw('sha256')), trustIn(ec));
    accepts(info('EC/SHA512', raw('sha512')), trustIn(ec));
  });

  test('when the chain needs no intermediate, or names one more than is there', async () => {
    const direct = await makeCertificate('Direct', { issuer: root });
    const signed = info('EC/SHA256', sign('sha256', CONTENT, direct.privateKey));
    accepts(signed, trustIn(direct, { chains: [{ name: 'items', fingerprints: ['AA', 'CC'] }] }));
  });

  test('as of the claimed time, whatever the date is now', async () => {
    const past = { notBefore: new Date('2024-01-01'), notAfter: new Date('2030-01-01') };
    const oldRoot = await makeCertificate('Old root', { ca: true, ...past });
    const signer = await makeCertificate('Old signer', {
      issuer: oldRoot,
      notBefore: new Date('2024-01-01'),
      notAfter: new Date('2024-02-01'),
    });
    const trust = trustIn(signer, { roots: parseCertificates(oldRoot.pem) });
    const value = sign('sha256', CONTENT, signer.privateKey);
    accepts(info('EC', value, { trustedTimestamp: new Date('2024-01-15') }), trust);
    expect(() => accepts(info('EC', value, { trustedTimestamp: new Date('2024-02-15') }), trust)).toThrow(
      'is valid from',
    );
  });
});

describe('[CM-45] a signature is refused', () => {
  test('of other content, by another key, with any changed bit', () => {
    const value = sign('sha256', CONTENT, rsa.privateKey);
    expect(() => accepts(info('RSA/SHA256', value), trustIn(rsa), Buffer.from('other content'))).toThrow(
      'signature is wrong',
    );
    expect(() => accepts(info('RSA/SHA384', value), trustIn(rsa))).toThrow('signature is wrong');
    expect(() => accepts(info('RSA/SHA256/PSS', value), trustIn(rsa))).toThrow('signature is wrong');
    const ecValue = raw('sha256');
    fc.assert(
      fc.property(fc.nat(ecValue.length * 8 - 1), (bit) => {
        const damaged = Buffer.from(ecValue);
        damaged[bit >> 3]! ^= 1 << (bit & 7);
        expect(() => accepts(info('EC/SHA256', damaged), trustIn(ec))).toThrow('signature is wrong');
      }),
      { numRuns: 30 },
    );
  });

  test('when it is empty or no signature at all', () => {
    for (const value of [Buffer.alloc(0), Buffer.from([0x30]), Buffer.from('3003020100', 'hex'), Buffer.alloc(600)]) {
      expect(() => accepts(info('EC/SHA256', value), trustIn(ec))).toThrow('signature is wrong');
      expect(() => accepts(info('RSA/SHA256', value), trustIn(rsa))).toThrow('signature is wrong');
    }
  });

  test.each([
    ['DSA/SHA256', 'signature algorithm "DSA/SHA256" is not supported'],
    ['RSA/MD5', 'unsupported hashing algorithm "MD5"'],
    ['EC/SHA256', 'does not fit the rsa key'],
  ])('for the algorithm %s', (alg, message) => {
    expect(() => checkSignature(info(alg, Buffer.alloc(1)), trustIn(rsa))).toThrow(message);
  });

  test('[CM-27] for a chain that is not known or says nothing', () => {
    const refusal = (change: Partial<SignatureTrust>, chainName = 'items') => {
      try {
        checkSignature(info('RSA', Buffer.alloc(1), { chainName }), trustIn(rsa, change));
      } catch (error) {
        if (isAosError(error)) return `${error.code}: ${error.message}`;
      }
      return 'accepted';
    };
    expect(refusal({}, '')).toBe('invalidArgument: bad chain name');
    expect(refusal({}, 'x')).toContain('notFound: certificate chain "x"');
    expect(refusal({ chains: [{ name: 'items', fingerprints: [] }] })).toBe(
      'invalidArgument: chain has no fingerprints',
    );
    expect(refusal({ chains: [{ name: 'items', fingerprints: ['CC'] }] })).toBe(
      'invalidArgument: signing certificate is absent',
    );
    expect(refusal({ certificates: [{ fingerprint: 'AA', der: Buffer.from('junk') }] })).toContain(
      'certificate aa of chain',
    );
    expect(refusal({ chains: [{ name: 'items', fingerprints: ['AA'] }] })).toContain('no known certificate issued it');
    expect(refusal({ roots: [] })).toContain('certificate chain is not trusted');
  });

  test('a broken certificate that the chain does not name harms nobody', () => {
    const trust = trustIn(rsa);
    accepts(info('RSA', sign('sha256', CONTENT, rsa.privateKey)), {
      ...trust,
      certificates: [{ fingerprint: 'ZZ', der: Buffer.from('junk') }, ...trust.certificates],
    });
  });

  test('[B-05] by a chain that is judged once for all that was signed at one moment, and anew for another', () => {
    let asked = 0;
    const { roots, ...rest } = trustIn(rsa);
    const trust: SignatureTrust = {
      ...rest,
      get roots() {
        asked += 1;
        return roots;
      },
    };
    const begin = (change: Partial<SignInfo>) => () => checkSignature(info('RSA', Buffer.alloc(1), change), trust);
    const trustedTimestamp = new Date();
    begin({ trustedTimestamp })();
    begin({ trustedTimestamp })();
    expect(asked).toBe(1);
    const before = new Date(Date.now() - 1000 * DAY_MS);
    for (let time = 1; time <= 2; time += 1) {
      expect(begin({ trustedTimestamp: before })).toThrow('is valid from');
      expect(asked).toBe(1 + time);
    }
    expect(begin({ trustedTimestamp, chainName: 'other' })).toThrow('certificate chain "other"');
  });

  test('[R-12] when the signer claims a time that cannot be', () => {
    const claims = (at: Date, now: Date) =>
      checkSignature(
        info('RSA', Buffer.alloc(1), { trustedTimestamp: at }),
        trustIn(rsa, { claimedTime: claimedTimeBounds(now) }),
      );
    const now = new Date();
    expect(() => claims(now, now)).not.toThrow();
    expect(() => claims(now, new Date(now.getTime() - 2 * DAY_MS))).toThrow('claims an impossible time');
    expect(() => claims(now, new Date(0)), 'a clock that was never set').not.toThrow();
    const claimedTime = { earliest: new Date(now.getTime() + 1) };
    expect(() =>
      checkSignature(info('RSA', Buffer.alloc(1), { trustedTimestamp: now }), trustIn(rsa, { claimedTime })),
    ).toThrow('claims an impossible time');
  });
});

describe('a chain', () => {
  const certificate = ({ der }: TestIdentity) => new X509Certificate(der);
  const verify = (leaf: TestIdentity, between: TestIdentity[], at = new Date()) =>
    verifyChain(certificate(leaf), between.map(certificate), [certificate(root)], at);
  const make = (name: string, options: TestCertificateOptions) => makeCertificate(name, options);

  test('leads to a root over intermediates in any order', async () => {
    const first = await make('First', { issuer: root, ca: true });
    const second = await make('Second', { issuer: first, ca: true });
    const leaf = await make('Leaf', { issuer: second });
    verify(leaf, [first, second]);
    verify(leaf, [second, first]);
    expect(() => verify(leaf, [first])).toThrow('no known certificate issued it');
  });

  test('does not lead over a certificate that may not issue', async () => {
    const fake = await make('EC signer', { issuer: root });
    const leaf = await make('Leaf', { issuer: fake });
    expect(() => verify(leaf, [fake])).toThrow('is no certificate authority');
  });

  test('does not lead over an authority of the same name with another key', async () => {
    const impostor = await make('Root', { ca: true });
    const leaf = await make('Leaf', { issuer: impostor });
    expect(() => verify(leaf, [])).toThrow('is not trusted');
    expect(() => verify(leaf, [impostor])).toThrow('is not trusted');
  });

  test('is not longer than an authority allows', async () => {
    const below = await make('Below', { issuer: intermediate, ca: true });
    const leaf = await make('Leaf', { issuer: below });
    expect(() => verify(leaf, [intermediate, below])).toThrow('allows 0 authorities below it, there are 1');
  });

  test('has no critical extension that is not understood', async () => {
    const strange = new x509.Extension('1.2.3.4', true, new Uint8Array([5, 0]));
    const leaf = await make('Leaf', { issuer: root, extensions: [strange] });
    expect(() => verify(leaf, [])).toThrow('critical extension 1.2.3.4');
    const harmless = new x509.Extension('1.2.3.4', false, new Uint8Array([5, 0]));
    verify(await make('Leaf', { issuer: root, extensions: [harmless] }), []);
  });

  test('is valid at the time, every part of it', async () => {
    const early = { notBefore: new Date('2024-01-01'), notAfter: new Date('2024-02-01') };
    const old = await make('Old', { issuer: root, ca: true, ...early });
    const leaf = await make('Leaf', { issuer: old });
    expect(() => verify(leaf, [old])).toThrow('"CN=Old" is valid from');
  });

  test('that goes in a circle ends', async () => {
    const keys = await makeKeys();
    const one = await make('One', { ca: true, keys, issuer: { ...root, name: 'Two', keys } });
    const two = await make('Two', { ca: true, keys, issuer: { ...root, name: 'One', keys } });
    expect(() => verify(one, [one, two])).toThrow('is not trusted');
  });
});

test('[R-06] no bytes make the DER reader fail in another way than by a refusal', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      for (const read of [readDer, readDerSequence]) {
        try {
          read(Buffer.from(bytes));
        } catch (error) {
          if (!isAosError(error, 'invalidArgument')) throw error;
        }
      }
    }),
    { numRuns: 2000 },
  );
});
