import 'reflect-metadata';
import { createHash, generateKeyPairSync, type KeyObject, sign, webcrypto, X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AosError } from '../../core/index.ts';
import { checkCommonName, makeRequest, makeSelfSigned, type Signer } from './certificate-request.ts';
import { derObjectId, derTime } from './der-forms.ts';

x509.cryptoProvider.set(webcrypto as unknown as Parameters<typeof x509.cryptoProvider.set>[0]);

function signer(kind: 'rsa' | 'ec'): Signer {
  const pair: { publicKey: KeyObject; privateKey: KeyObject } =
    kind === 'rsa'
      ? generateKeyPairSync('rsa', { modulusLength: 2048 })
      : generateKeyPairSync('ec', { namedCurve: 'P-384' });
  return {
    kind,
    publicKey: pair.publicKey.export({ format: 'der', type: 'spki' }),
    sign: (message) => sign(kind === 'rsa' ? 'sha256' : 'sha384', message, pair.privateKey),
  };
}

test.each(['rsa', 'ec'] as const)(
  '[IAM-09] a request of an %s key names the subject, the hosts and the usages, and is signed by the key',
  async (kind) => {
    const pem = makeRequest(
      {
        commonName: 'unit-1',
        alternativeNames: ['localhost', 'main'],
        extendedKeyUsage: ['serverAuth', 'clientAuth'],
      },
      signer(kind),
    );
    expect(pem).toMatch(/^-----BEGIN CERTIFICATE REQUEST-----\n/);
    const request = new x509.Pkcs10CertificateRequest(pem);
    expect(await request.verify()).toBe(true);
    expect(request.subject).toBe('CN=unit-1');
    const names = request.extensions.find((found) => found instanceof x509.SubjectAlternativeNameExtension);
    expect(names?.names.items.map(({ value }) => value)).toEqual(['localhost', 'main']);
    const usages = request.extensions.find((found) => found instanceof x509.ExtendedKeyUsageExtension);
    expect(usages?.usages).toEqual([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]);
    expect(request.extensions).toHaveLength(2);
  },
);

test('[IAM-09] what is not configured is not asked for', async () => {
  const pem = makeRequest({ commonName: 'unit-1', alternativeNames: [], extendedKeyUsage: [] }, signer('ec'));
  const request = new x509.Pkcs10CertificateRequest(pem);
  expect(request.extensions).toEqual([]);
  expect(await request.verify()).toBe(true);
});

test.each(['', 'a,O=Evil', 'a/O=Evil', 'a+b', 'a=b', 'a\nb', 'x'.repeat(65)])(
  'a subject that would be more than one name is refused: %j',
  (name) => {
    expect(() => checkCommonName(name)).toThrow(expect.objectContaining({ code: 'invalidArgument' }));
  },
);

test('[IAM-14] a self-signed certificate is valid for a hundred years and signed by its own key', () => {
  const key = signer('rsa');
  const now = new Date('2026-03-04T05:06:07Z');
  const certificate = new X509Certificate(makeSelfSigned('Aos Core', now, key));
  expect(certificate.subject).toBe('CN=Aos Core');
  expect(certificate.issuer).toBe('CN=Aos Core');
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  expect(certificate.validFromDate).toEqual(now);
  expect(certificate.validToDate).toEqual(new Date('2126-03-04T05:06:07Z'));
  const parsed = new x509.X509Certificate(certificate.raw);
  const id = parsed.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  expect(parsed.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId).toBe(id);
  expect(id).toHaveLength(createHash('sha1').update('').digest('hex').length);
  expect(parsed.extensions).toHaveLength(2);
});

test('[IAM-09] a subject of any characters stands in the request as it was given, or is refused in words', () => {
  const { publicKey } = signer('ec');
  const unsigned: Signer = { kind: 'ec', publicKey, sign: () => Buffer.from('3006020101020101', 'hex') };
  const subject = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 140 }),
    fc.string({ unit: 'grapheme', maxLength: 70 }),
    fc.stringMatching(/^[A-Za-z0-9 ,/+="#<>;\\-]{1,66}$/),
  );
  fc.assert(
    fc.property(subject, (commonName) => {
      let pem: string;
      try {
        pem = makeRequest({ commonName, alternativeNames: [], extendedKeyUsage: [] }, unsigned);
      } catch (error) {
        expect(error).toBeInstanceOf(AosError);
        expect((error as AosError).message).toMatch(/^the subject /);
        return;
      }
      const request = new x509.Pkcs10CertificateRequest(pem);
      expect(request.subjectName.getField('CN')).toEqual([commonName]);
      expect(request.subjectName.toJSON()).toHaveLength(1);
    }),
    { numRuns: 3000 },
  );
});

test('object identifiers are written as they are read', () => {
  const arc = fc.integer({ min: 0, max: 2 ** 31 });
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 }),
      fc.integer({ min: 0, max: 39 }),
      fc.array(arc),
      (first, second, rest) => {
        const text = [first, second, ...rest].join('.');
        const { id } = readBack(derObjectId(text));
        expect(id).toBe(text);
      },
    ),
  );
});

test('times before 2050 are short, later ones long', () => {
  expect(derTime(new Date('2049-12-31T23:59:59Z')).toString('latin1')).toBe('\x17\x0d491231235959Z');
  expect(derTime(new Date('2050-01-01T00:00:00Z')).toString('latin1')).toBe('\x18\x0f20500101000000Z');
});

/** A second reader: sums up the base-128 digits. */
function readBack(der: Buffer): { id: string } {
  const parts: number[] = [];
  let value = 0;
  for (const byte of der.subarray(2)) {
    value = value * 128 + (byte & 0x7f);
    if ((byte & 0x80) === 0) {
      parts.push(value);
      value = 0;
    }
  }
  const [head = 0, ...rest] = parts;
  const first = Math.min(2, Math.floor(head / 40));
  return { id: [first, head - first * 40, ...rest].join('.') };
}
