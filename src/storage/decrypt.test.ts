import { createCipheriv, randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type DecryptInfo, decrypt } from './index.ts';

/** Cuts bytes into pieces of the given sizes, repeated as often as needed. */
async function* pieces(bytes: Uint8Array, sizes: readonly number[]): AsyncIterable<Uint8Array> {
  for (let offset = 0, index = 0; offset < bytes.length; index += 1) {
    const size = sizes[index % sizes.length]!;
    yield bytes.subarray(offset, offset + size);
    offset += size;
  }
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function encrypt(name: 'cbc' | 'gcm', plain: Uint8Array, key: Uint8Array, iv: Uint8Array): Buffer {
  if (name === 'cbc') {
    const cipher = createCipheriv(`aes-${key.length * 8}-cbc`, key, iv);
    return Buffer.concat([cipher.update(plain), cipher.final()]);
  }
  const cipher = createCipheriv(
    key.length === 16 ? 'aes-128-gcm' : key.length === 24 ? 'aes-192-gcm' : 'aes-256-gcm',
    key,
    iv,
  );
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

const KEY = randomBytes(32);
const IV = randomBytes(16);
const info = (fields: Partial<DecryptInfo> = {}): DecryptInfo => ({
  blockAlg: 'AES256/CBC/PKCS7PADDING',
  blockKey: KEY,
  blockIv: IV,
  ...fields,
});

test('[CM-44] what was encrypted in any size and arrives in any pieces is decrypted', async () => {
  const cases = fc.record({
    plain: fc.uint8Array({ maxLength: 200 }),
    sizes: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 4 }),
    keyBytes: fc.constantFrom(16, 24, 32),
    mode: fc.constantFrom('cbc' as const, 'gcm' as const),
    ivBytes: fc.constantFrom(12, 16),
  });
  await fc.assert(
    fc.asyncProperty(cases, async ({ plain, sizes, keyBytes, mode, ivBytes }) => {
      const blockKey = randomBytes(keyBytes);
      const blockIv = randomBytes(mode === 'gcm' ? ivBytes : 16);
      const encrypted = encrypt(mode, plain, blockKey, blockIv);
      const blockAlg = `AES${keyBytes * 8}/${mode}`;
      expect(await collect(decrypt(pieces(encrypted, sizes), { blockAlg, blockKey, blockIv }))).toEqual(
        Buffer.from(plain),
      );
    }),
    { numRuns: 200 },
  );
});

test.each(['AES256', 'aes256/cbc', 'AES256//', 'Aes256/Cbc/pkcs7padding', 'AES256/CBC/whatever'])(
  'the algorithm may be written as "%s"',
  async (blockAlg) => {
    const encrypted = encrypt('cbc', Buffer.from('hello'), KEY, IV);
    expect(await collect(decrypt(pieces(encrypted, [7]), info({ blockAlg })))).toEqual(Buffer.from('hello'));
  },
);

describe('refused', () => {
  const source = pieces(Buffer.alloc(16), [16]);

  test.each(['AES512/CBC', 'DES/CBC', 'AES256/ECB', ''])('algorithm "%s"', (blockAlg) => {
    expect(() => decrypt(source, info({ blockAlg }))).toThrow(`cipher "${blockAlg}" is not supported`);
  });

  test('a key or an initial vector of the wrong length', () => {
    expect(() => decrypt(source, info({ blockKey: KEY.subarray(1) }))).toThrow('invalid symmetric key: 31 bytes');
    expect(() => decrypt(source, info({ blockIv: IV.subarray(4) }))).toThrow('invalid IV length: 12 bytes');
  });

  test.each([0, 1, 15, 17])('a file of %i bytes', async (size) => {
    await expect(collect(decrypt(pieces(Buffer.alloc(size), [16]), info()))).rejects.toThrow(
      `file size is incorrect: ${size} bytes`,
    );
  });

  test('the wrong key', async () => {
    const encrypted = encrypt('cbc', randomBytes(100), KEY, IV);
    const wrong = info({ blockKey: Buffer.from(KEY.map((byte) => byte ^ 1)) });
    // One in 256 keys leaves a padding that looks right; then the digest finds it.
    const outcome = await collect(decrypt(pieces(encrypted, [64]), wrong)).catch((error: unknown) => error);
    if (!Buffer.isBuffer(outcome)) expect(outcome).toMatchObject({ code: 'invalidChecksum' });
  });

  test('any changed bit of a GCM file, or one that is too short for a tag', async () => {
    const encrypted = encrypt('gcm', Buffer.from('hello'), KEY, IV);
    const gcm = info({ blockAlg: 'AES256/GCM/' });
    await fc.assert(
      fc.asyncProperty(fc.nat(encrypted.length * 8 - 1), async (bit) => {
        const damaged = Buffer.from(encrypted);
        damaged[bit >> 3]! ^= 1 << (bit & 7);
        await expect(collect(decrypt(pieces(damaged, [3]), gcm))).rejects.toThrow('layout unconfirmed');
      }),
    );
    await expect(collect(decrypt(pieces(Buffer.alloc(15), [16]), gcm))).rejects.toThrow('15 bytes hold no tag');
  });
});
