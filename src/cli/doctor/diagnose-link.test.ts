import { expect, test } from 'vitest';
import { cloudLink } from './diagnose-link.ts';

const since = '2026-05-31T00:00:00Z';

test('[P-08] a cloud that is there is in order', () => {
  expect(cloudLink({ state: 'connected', url: 'wss://cloud', since })).toEqual({
    check: 'cloud',
    level: 'ok',
    found: `connected to wss://cloud since ${since}`,
  });
});

test.each([
  ['ENOTFOUND', /name is not known.*DNS/],
  ['EAI_AGAIN', /name is not known.*DNS/],
  ['ECONNREFUSED', /not reached.*firewalls/],
  ['EHOSTUNREACH', /not reached/],
  ['ENETUNREACH', /not reached/],
  ['ETIMEDOUT', /not reached/],
  ['timeout', /not reached/],
  ['CERT_NOT_YET_VALID', /clock of this node is behind/],
  ['CERT_HAS_EXPIRED', /clock of this node is ahead/],
  ['ERR_TLS_CERT_ALTNAME_INVALID', /another host than the cloud/],
  ['SELF_SIGNED_CERT_IN_CHAIN', /"caCert"/],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', /"caCert"/],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', /"caCert"/],
  ['ERR_SSL_TLSV1_ALERT_UNKNOWN_CA', /does not accept the certificate of this unit/],
  ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED', /does not accept the certificate of this unit/],
  ['failed', /connects again by itself/],
])('[P-08] %s has its own way out, whatever the words', (lastErrorCode, cure) => {
  // The words are another matter, and would lead astray.
  const lastError = 'discovery at https://certificate.example: it said timeout';
  expect(cloudLink({ state: 'waiting', since, lastError, lastErrorCode })).toEqual({
    check: 'cloud',
    level: 'warning',
    found: `waiting since ${since}: ${lastError}`,
    cure: expect.stringMatching(cure),
  });
});

test('[P-08] a CM that names no code gets no guess', () => {
  const { cure } = cloudLink({ state: 'waiting', since, lastError: 'connect ECONNREFUSED' });
  expect(cure).toMatch(/connects again by itself/);
});
