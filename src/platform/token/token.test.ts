import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { AosError } from '../../core/index.ts';
import {
  engineUri,
  FakePkcs11,
  formatTokenUrl,
  isClearLabel,
  loadPkcs11,
  type Pkcs11Library,
  parseObjectUrl,
  pinCandidates,
} from './index.ts';
import { tokenSuite } from './token.suite.ts';

const LIBRARY = ['/usr/lib/softhsm/libsofthsm2.so', '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so'].find((path) =>
  existsSync(path),
);

let directory: string;
const opened: Pkcs11Library[] = [];

// Not before: whoever only lists the tests makes nothing.
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'aos-token-'));
  writeFileSync(join(directory, 'softhsm2.conf'), `directories.tokendir = ${directory}\nobjectstore.backend = file\n`);
  process.env.SOFTHSM2_CONF = join(directory, 'softhsm2.conf');
});

afterAll(() => {
  for (const library of opened) library.close();
  rmSync(directory, { recursive: true });
});

tokenSuite('fake token', () => new FakePkcs11());
tokenSuite('SoftHSM', () => {
  const library = loadPkcs11(LIBRARY!);
  opened.push(library);
  return library;
});

test('[IAM-11] URLs have the form that every AosCore program reads', () => {
  const id = Buffer.from('1a2b', 'hex');
  const url = { token: 'aoscore', object: 'iam', id, modulePath: '/usr/lib/p.so', pinSource: '/var/aos/iam/.usrpin' };
  expect(formatTokenUrl(url)).toBe(
    'pkcs11:token=aoscore;object=iam;id=%1A%2B?module-path=/usr/lib/p.so&pin-source=/var/aos/iam/.usrpin',
  );
  expect(formatTokenUrl({ token: 'aoscore', object: 'iam', id })).toBe('pkcs11:token=aoscore;object=iam;id=%1A%2B?');
});

test('a URL that was written is read back', () =>
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 32 }),
      fc.stringMatching(/^[a-z][a-z0-9 ]{0,30}$/),
      (id, label) => {
        const url = { token: label, object: 'cm', id: Buffer.from(id), modulePath: '/m.so', pinSource: '/pin' };
        expect(parseObjectUrl(formatTokenUrl(url))).toEqual({ kind: 'token', ...url, pinValue: undefined });
      },
    ),
  ));

test('[IAM-11] whatever is called a URL is read, or refused in words; what was read is written and read alike', () => {
  const word = fc.oneof(
    fc.constantFrom('pkcs11:', 'file:', 'token=', 'object=', 'id=', '%0', '%41', ';', '?', '&', '=', 'module-path=/m'),
    fc.constantFrom('pin-source=/secret-pin', 'pin-value=secret-pin'),
    fc.string({ unit: 'binary', maxLength: 6 }),
  );
  const text = fc.array(word, { maxLength: 24 }).map((words) => words.join(''));
  fc.assert(
    fc.property(
      fc.oneof(
        text,
        text.map((rest) => `pkcs11:object=o;id=%01${rest}`),
      ),
      (url) => {
        try {
          const read = parseObjectUrl(url);
          if (read.kind === 'file' || read.id.length === 0) return;
          expect(parseObjectUrl(formatTokenUrl(read))).toEqual(read);
        } catch (error) {
          expect(error).toBeInstanceOf(AosError);
          expect((error as AosError).message).not.toContain('secret-pin');
        }
      },
    ),
    { numRuns: 4000 },
  );
});

test('a URL that lacks a part, or names two PINs, is refused by name', () => {
  expect(() => parseObjectUrl('pkcs11:token=t;id=%01')).toThrow(/no "object"/);
  expect(() => parseObjectUrl('pkcs11:token=t;object=o')).toThrow(/no "id"/);
  expect(() => parseObjectUrl('pkcs11:object=o;id=%01?pin-value=1&pin-source=/p')).toThrow(/both/);
  expect(() => parseObjectUrl('tpm:whatever')).toThrow(/"tpm:" URLs are unknown/);
  expect(parseObjectUrl('file:/etc/key.pem')).toEqual({ kind: 'file', path: '/etc/key.pem' });
});

test('a label that twins would misread is refused', () => {
  expect(['grid=1', 'a;b', 'aoscore'].map(isClearLabel)).toEqual([false, false, true]);
});

test('[IAM-15] a PIN file is read as it is, and without its last newline if that fails', () => {
  const pin = join(directory, 'pin');
  writeFileSync(pin, '1234\n');
  const url = { token: 't', object: 'o', id: Buffer.from([1]), pinSource: pin };
  expect(pinCandidates(url)).toEqual(['1234\n', '1234']);
  expect(() => pinCandidates({ ...url, pinSource: join(directory, 'absent') })).toThrow(/cannot read the PIN file/);
});

test('[IAM-11] the engine of TLS is told where the PIN is, and told the PIN only where it cannot read it itself', () => {
  const pin = join(directory, 'pin of TLS');
  const url = { token: 'my token', object: 'iam', id: Buffer.from([1]), pinSource: pin };
  const key = 'pkcs11:token=my%20token;object=iam;id=%01;type=private';
  writeFileSync(pin, 'abc');
  expect(engineUri(url, 'abc')).toBe(`${key}?pin-source=file:${encodeURIComponent(pin)}`);
  expect(engineUri(url, 'other')).toBe(`${key}?pin-value=other`);
  expect(engineUri({ ...url, pinSource: undefined }, 'abc')).toBe(`${key}?pin-value=abc`);
  expect(engineUri({ ...url, pinSource: join(directory, 'absent') }, 'abc')).toBe(`${key}?pin-value=abc`);
  expect(engineUri(url, undefined)).toBe(key);
  for (const [text, used] of [
    ['x'.repeat(31), 'source'],
    ['x'.repeat(32), 'value'],
    ['a\nb', 'value'],
  ] as const) {
    writeFileSync(pin, text);
    expect(engineUri(url, text)).toContain(`?pin-${used}=`);
  }
  expect(() => engineUri(url, 'y'.repeat(33))).toThrow(/PIN of the token "my token" has 33 bytes.*; give the token/);
});
