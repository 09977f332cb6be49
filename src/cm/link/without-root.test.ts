import { expect, test } from 'vitest';
import { makeCertificate } from '../../storage/certificates-for-tests.ts';
import { withoutRoot } from './without-root.ts';

const text = (...pems: readonly string[]) => pems.map((pem) => `${pem.trim()}\n`).join('');

test('a unit shows its certificate and what is between it and the root, in their order', async () => {
  const root = await makeCertificate('root', { ca: true });
  const upper = await makeCertificate('upper', { ca: true, issuer: root });
  const lower = await makeCertificate('lower', { ca: true, issuer: upper });
  const leaf = await makeCertificate('leaf', { issuer: lower });
  const shown = text(leaf.pem, lower.pem, upper.pem);
  expect(withoutRoot(text(leaf.pem, lower.pem, upper.pem, root.pem))).toBe(shown);
  expect(withoutRoot(text(leaf.pem, root.pem, lower.pem, upper.pem))).toBe(shown);
  expect(withoutRoot(shown)).toBe(shown);
});

test('a certificate that signs itself is shown, as is what cannot be read', async () => {
  const alone = await makeCertificate('alone');
  const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----';
  expect(withoutRoot(text(alone.pem))).toBe(text(alone.pem));
  expect(withoutRoot(text(alone.pem, broken))).toBe(text(alone.pem, broken));
  expect(withoutRoot('no certificate')).toBe('no certificate');
});
