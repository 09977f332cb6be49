import { beforeAll, expect, test } from 'vitest';
import { makeCertificate, type TestIdentity } from '../../storage/certificates-for-tests.ts';
import { names, parseChain } from './chain.ts';

let root: TestIdentity;
let middle: TestIdentity;
let leaf: TestIdentity;

beforeAll(async () => {
  root = await makeCertificate('root', { ca: true });
  middle = await makeCertificate('middle', { ca: true, issuer: root });
  leaf = await makeCertificate('leaf', { issuer: middle });
});

const pem = (...identities: TestIdentity[]) => identities.map((identity) => `${identity.pem}\n`).join('');

test('[IAM-10] the leaf first, its issuers in any order, the root among them', () => {
  for (const text of [pem(leaf, middle, root), pem(leaf, root, middle)]) {
    const chain = parseChain(text);
    expect(chain.leaf.subject).toBe('CN=leaf');
    expect(chain.issuers.map(({ subject }) => subject)).toEqual(['CN=middle', 'CN=root']);
  }
});

test('[IAM-10] of two authorities of one name the issuer is the one that has signed', async () => {
  const renewed = await makeCertificate('middle', { ca: true, issuer: root });
  for (const [issuer, others] of [
    [middle, [middle, renewed]],
    [renewed, [middle, renewed]],
    [middle, [renewed, middle]],
  ] as const) {
    const chain = parseChain(pem(await makeCertificate('leaf', { issuer }), ...others, root));
    expect(chain.issuers.map(({ raw }) => raw)).toEqual([issuer.der, root.der]);
  }
});

test.each<[string, () => string, string]>([
  ['no certificate', () => 'hello', 'notFound'],
  ['no root', () => pem(leaf, middle), 'notFound'],
  ['no intermediate', () => pem(leaf, root), 'notFound'],
  ['a part that is cut off', () => pem(leaf, middle, root).slice(0, -60), 'invalidArgument'],
  ['bytes that are no certificate', () => pem(leaf).replace(/MI/, 'XX') + pem(root), 'invalidArgument'],
  ['too many certificates', () => pem(...Array.from({ length: 9 }, () => root)), 'noMemory'],
])('a chain with %s is refused', (_, text, code) => {
  expect(() => parseChain(text())).toThrow(expect.objectContaining({ code }));
});

test('issuers that point at each other end as a missing root', async () => {
  const a = await makeCertificate('a', { ca: true, issuer: await makeCertificate('b', { ca: true }) });
  const b = await makeCertificate('b', { ca: true, issuer: a });
  const first = await makeCertificate('first', { issuer: a });
  expect(() => parseChain(pem(first, a, b))).toThrow(expect.objectContaining({ code: 'notFound' }));
});

test('a serial number has no leading zeros', () => {
  const serial = names(parseChain(pem(root)).leaf).serial;
  expect(serial[0]).not.toBe(0);
});
