/** Against the worked examples of the published description of the signature. */
import { describe, expect, test } from 'vitest';
import { EMPTY_SHA256, encodeKey, signRequest } from './sign-request.ts';

const EXAMPLE = {
  credentials: {
    accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
    secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  },
  region: 'us-east-1',
  at: new Date('2013-05-24T00:00:00Z'),
};
const HOST = 'https://examplebucket.s3.amazonaws.com';
const signatureOf = ({ authorization }: Record<string, string>) => /Signature=(.*)$/.exec(authorization!)?.[1];

describe('[P-06] signature version 4', () => {
  test('a part of an object', () => {
    const headers = signRequest({
      ...EXAMPLE,
      ...{ method: 'GET', url: new URL(`${HOST}/test.txt`), headers: { Range: 'bytes=0-9' } },
      payloadSha256: EMPTY_SHA256,
    });
    expect(signatureOf(headers)).toBe('f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41');
    expect(headers).toMatchObject({ range: 'bytes=0-9', 'x-amz-date': '20130524T000000Z' });
    expect(headers).not.toHaveProperty('x-amz-security-token');
  });

  test('an upload under a name with a character that addresses do not take', () => {
    const headers = signRequest({
      ...EXAMPLE,
      ...{ method: 'PUT', url: new URL(`${HOST}/${encodeKey('test$file.text')}`) },
      headers: { Date: 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-storage-class': 'REDUCED_REDUNDANCY' },
      payloadSha256: '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
    });
    expect(signatureOf(headers)).toBe('98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd');
  });

  test('the token of credentials that are valid for a while is signed, too', () => {
    const headers = signRequest({
      ...{ ...EXAMPLE, credentials: { ...EXAMPLE.credentials, sessionToken: 'a token' } },
      ...{ method: 'GET', url: new URL(`${HOST}/test.txt`), headers: {}, payloadSha256: EMPTY_SHA256 },
    });
    expect(headers['x-amz-security-token']).toBe('a token');
    expect(headers.authorization).toContain('SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,');
  });

  test('names of objects are encoded as the signature wants them, slashes stay', () => {
    expect(encodeKey("a b/ü!'()*~/c")).toBe('a%20b/%C3%BC%21%27%28%29%2A~/c');
  });
});
