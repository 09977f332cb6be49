import fc from 'fast-check';
import { expect, test } from 'vitest';
import { redactText, redactValue } from './redact.ts';

test.each([
  ['-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----\nafter', 'MHcCAQEE', 'after'],
  ['-----BEGIN PRIVATE KEY-----\nMHcCAQEE cut off', 'MHcCAQEE', ''],
  ['pkcs11:token=aos;id=%01?module-path=/lib/x.so&pin-value=4711', '4711', 'token=aos'],
  ['authorization: Bearer eyJhbGciOi.x.y', 'eyJhbGciOi', 'authorization'],
  ['AOS_SECRET=abc-def PATH=/bin', 'abc-def', 'PATH=/bin'],
  ['https://user:hunter2@cloud/blob', 'hunter2', '@cloud/blob'],
])('[P-09] a secret leaves no trace in a text, and the rest stays: %s', (text, secret, rest) => {
  expect(redactText(text)).not.toContain(secret);
  expect(redactText(text)).toContain(rest);
});

test('[P-09] settings that are secrets lose their value, paths and certificates do not', () => {
  const config = {
    caCert: '/etc/ca.pem',
    modules: [{ userPin: '1234', userPINPath: '/var/.usrpin', pin: 5678, tokenLabel: 'aos', soPin: 'x' }],
    env: { PASSWORD: 'a', HOME: '/' },
    database: { password: 'b', host: 'db' },
    token: null,
  };
  expect(redactValue(config)).toEqual({
    caCert: '/etc/ca.pem',
    modules: [
      { userPin: '(removed)', userPINPath: '/var/.usrpin', pin: '(removed)', tokenLabel: 'aos', soPin: '(removed)' },
    ],
    env: '(removed)',
    database: { password: '(removed)', host: 'db' },
    token: null,
  });
});

test('[P-09] what is known to be a secret is nowhere, however it is nested', () => {
  const secret = 'S3cr3t-of-this-node';
  const around = fc.string().filter((text) => !text.includes(secret));
  fc.assert(
    fc.property(around, around, fc.array(fc.constantFrom('a', 'list', 'x')), (before, after, path) => {
      const nested = path.reduce<unknown>((value, key) => ({ [key]: [value] }), before + secret + after);
      expect(JSON.stringify(redactValue(nested, [secret]))).not.toContain(secret);
    }),
  );
});
