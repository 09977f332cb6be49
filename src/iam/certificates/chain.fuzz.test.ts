/** Chains that were damaged on their way: each is refused in words, or is a chain. */
import fc from 'fast-check';
import { beforeAll, expect, test } from 'vitest';
import { AosError } from '../../core/index.ts';
import { makeCertificate, type TestIdentity } from '../../storage/certificates-for-tests.ts';
import { parseChain, publicKeyOf } from './chain.ts';
import { chainJudge } from './judge-chain.ts';

const RUNS = 3000;

let identities: TestIdentity[];

beforeAll(async () => {
  const root = await makeCertificate('root', { ca: true });
  const middle = await makeCertificate('middle', { ca: true, issuer: root });
  identities = [await makeCertificate('leaf', { issuer: middle }), middle, root];
});

const toPem = (der: Uint8Array) =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`;

/** Everything that IAM asks of a chain. */
function readWhole(text: string): void {
  try {
    const chain = parseChain(text);
    publicKeyOf(chain.leaf);
    chainJudge(identities[2]!.pem, () => new Date())(chain);
  } catch (error) {
    expect(error).toBeInstanceOf(AosError);
    expect((error as AosError).message).toMatch(/./);
  }
}

/** A certificate of the chain with some bytes changed, and perhaps its end cut off. */
const damaged = fc.record({
  which: fc.nat({ max: 2 }),
  changes: fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.nat({ max: 255 })), { maxLength: 4 }),
  kept: fc.double({ min: 0, max: 1, noNaN: true }),
  cut: fc.boolean(),
});

test('[IAM-10] certificates with bytes changed or missing are refused with a reason, or are certificates', () =>
  fc.assert(
    fc.property(fc.array(damaged, { minLength: 1, maxLength: 5 }), (parts) => {
      const text = parts.map(({ which, changes, kept, cut }) => {
        const der = Buffer.from(identities[which]!.der);
        for (const [place, byte] of changes) der[Math.min(der.length - 1, Math.floor(place * der.length))] = byte;
        return toPem(cut ? der.subarray(0, Math.floor(kept * der.length)) : der);
      });
      readWhole(text.join(''));
    }),
    { numRuns: RUNS },
  ));

test('[IAM-10] texts made of the words of PEM are refused with a reason', () => {
  const words = fc.constantFrom(
    '-----',
    'BEGIN CERTIFICATE',
    'END CERTIFICATE',
    '\n',
    'MIIB',
    'AAAA',
    '=',
    'PRIVATE KEY',
  );
  return fc.assert(
    fc.property(fc.array(fc.oneof(words, fc.string({ maxLength: 8 })), { maxLength: 40 }), (parts) =>
      readWhole(parts.join('')),
    ),
    { numRuns: RUNS },
  );
});
