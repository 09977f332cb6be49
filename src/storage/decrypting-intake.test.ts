import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { appendFile, mkdtemp, readFile, rm, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { arrive } from './arrive-for-tests.ts';
import { type DecryptInfo, DecryptingIntake, discardDownload } from './index.ts';

const never = new AbortController().signal;
const KEY = randomBytes(32);
const IV = randomBytes(16);

let directory: string;
let file: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-intake-'));
  file = join(directory, 'download');
});

afterEach(() => rm(directory, { recursive: true, force: true }));

function encrypt(mode: 'cbc' | 'gcm', plain: Uint8Array, key: Uint8Array, iv: Uint8Array): Buffer {
  if (mode === 'cbc') {
    const cipher = createCipheriv(`aes-${key.length * 8}-cbc`, key, iv);
    return Buffer.concat([cipher.update(plain), cipher.final()]);
  }
  const cipher = createCipheriv(`aes-${(key.length * 8) as 128 | 192 | 256}-gcm`, key, iv);
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

const info = (fields: Partial<DecryptInfo> = {}): DecryptInfo => ({
  blockAlg: 'AES256/CBC/PKCS7PADDING',
  blockKey: KEY,
  blockIv: IV,
  ...fields,
});

const hashOf = (algorithm: string, content: Uint8Array) => createHash(algorithm).update(content).digest();
const make = (decryptInfo: DecryptInfo, checksum?: Buffer, sizeBytes = 0) =>
  new DecryptingIntake({ decryptInfo, sizeBytes, checksum });

/** The plain content, as the file holds it and the intake describes it. */
async function finished(intake: DecryptingIntake): Promise<Buffer> {
  const { sizeBytes, sha256 } = await intake.finish(file, never);
  const plain = (await readFile(file)).subarray(0, sizeBytes);
  expect(hashOf('sha256', plain).toString('hex')).toBe(sha256);
  return plain;
}

/** From encrypted bytes in pieces to the plain ones. */
async function decrypted(encrypted: Uint8Array, decryptInfo: DecryptInfo, pieces = [64]): Promise<Buffer> {
  await discardDownload(file);
  const intake = make(decryptInfo);
  await arrive(file, intake, encrypted, { pieces });
  return finished(intake);
}

const modes = fc.record({
  keyBytes: fc.constantFrom(16, 24, 32),
  mode: fc.constantFrom('cbc' as const, 'gcm' as const),
  ivBytes: fc.constantFrom(12, 16),
});
const pieces = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 4 });

function encryptedAs(
  plain: Uint8Array,
  { keyBytes, mode, ivBytes }: { keyBytes: number; mode: 'cbc' | 'gcm'; ivBytes: number },
) {
  const blockKey = randomBytes(keyBytes);
  const blockIv = randomBytes(mode === 'gcm' ? ivBytes : 16);
  const encrypted = encrypt(mode, plain, blockKey, blockIv);
  return { encrypted, decryptInfo: { blockAlg: `AES${keyBytes * 8}/${mode}`, blockKey, blockIv } };
}

test('[CM-44] what was encrypted in any size and arrives in any pieces is decrypted', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), pieces, modes, async (plain, sizes, how) => {
      const { encrypted, decryptInfo } = encryptedAs(plain, how);
      expect(await decrypted(encrypted, decryptInfo, sizes)).toEqual(Buffer.from(plain));
    }),
    { numRuns: 150 },
  );
});

test('[CM-41] [CM-44] a download that breaks off anywhere goes on where it stopped, also in another process, and nothing is different', async () => {
  const breaks = fc.array(
    fc.record({
      atByte: fc.nat(260),
      /** What is left of the process and of the file. */
      left: fc.constantFrom('same process', 'other process', 'torn file'),
    }),
    { maxLength: 4 },
  );
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), pieces, modes, breaks, async (plain, sizes, how, stops) => {
      await discardDownload(file);
      const { encrypted, decryptInfo } = encryptedAs(plain, how);
      for (const checksum of [hashOf('sha3-256', encrypted), hashOf('sha256', encrypted)]) {
        let intake = make(decryptInfo, checksum);
        for (const { atByte, left } of stops) {
          await arrive(file, intake, encrypted, { untilByte: Math.min(atByte, encrypted.length), pieces: sizes });
          if (left === 'same process') continue;
          intake = make(decryptInfo, checksum);
          if (left === 'torn file') await truncate(file, Math.floor((await readFile(file)).length / 2));
        }
        await arrive(file, intake, encrypted, { pieces: sizes });
        expect(await finished(intake)).toEqual(Buffer.from(plain));
        await discardDownload(file);
      }
    }),
    { numRuns: 150 },
  );
});

test('[CM-41] what was downloaded is not asked for again, but for less than a block', async () => {
  const encrypted = encrypt('cbc', randomBytes(1000), KEY, IV);
  const intake = make(info());
  await arrive(file, intake, encrypted, { untilByte: 500 });
  expect(await arrive(file, intake, encrypted, { untilByte: 700 })).toBe(496);
  expect(await arrive(file, make(info()), encrypted)).toBe(688);
});

test('bytes behind the last block, as a power cut may leave them, are written anew', async () => {
  const plain = randomBytes(1000);
  const encrypted = encrypt('cbc', plain, KEY, IV);
  await arrive(file, make(info()), encrypted, { untilByte: 512 });
  await appendFile(file, 'torn');
  const intake = make(info(), hashOf('sha3-256', encrypted));
  expect(await arrive(file, intake, encrypted)).toBe(512);
  expect(await finished(intake)).toEqual(plain);
});

test('[B-05] what was made of a piece is freed when it is written, and what is small and shares its memory is not', async () => {
  const encrypted = encrypt('cbc', randomBytes(300_000), KEY, IV);
  const made: Uint8Array[] = [];
  class Watched extends DecryptingIntake {
    override async take(piece: Uint8Array) {
      const plain = await super.take(piece);
      made.push(plain);
      return plain;
    }
  }
  await arrive(file, new Watched({ decryptInfo: info(), sizeBytes: 0 }), encrypted, { pieces: [100_000] });
  expect(made.slice(0, 3).map(({ length }) => length)).toEqual([0, 0, 0]);
});

test('[CM-46] a large download is hashed beside its decryption, from its beginning also after it was begun anew', async () => {
  const plain = randomBytes(3_000_000);
  const encrypted = encrypt('cbc', plain, KEY, IV);
  const asLarge = 64 * 1024 * 1024;
  const intake = make(info(), hashOf('sha3-256', encrypted), asLarge);
  try {
    await arrive(file, intake, randomBytes(2_000_000));
    await discardDownload(file);
    await arrive(file, intake, encrypted, { pieces: [512 * 1024, 100_000, 7] });
    expect((await finished(intake)).equals(plain)).toBe(true);
  } finally {
    await intake.end();
  }
});

test('[CM-45] a signature is checked over what came at last, from its first byte', async () => {
  const plain = randomBytes(1000);
  const seen: Buffer[][] = [];
  const beginSignature = () => {
    const pieces: Buffer[] = [];
    seen.push(pieces);
    return { update: (piece: Uint8Array) => void pieces.push(Buffer.from(piece)), verify: () => undefined };
  };
  const intake = new DecryptingIntake({ decryptInfo: info(), sizeBytes: 0, beginSignature });
  await arrive(file, intake, randomBytes(640));
  await discardDownload(file);
  await arrive(file, intake, encrypt('cbc', plain, KEY, IV), { pieces: [100] });
  await finished(intake);
  expect(Buffer.concat(seen.at(-1)!).equals(plain)).toBe(true);
});

test.each([
  ['more than a block', Buffer.alloc(16, 17)],
  ['nothing', Buffer.alloc(16, 0)],
  ['three bytes that are not three', Buffer.concat([Buffer.alloc(15, 1), Buffer.from([3])])],
])('[CM-44] an end that says that %s is padding is refused: the key does not fit', async (_, block) => {
  const cipher = createCipheriv('aes-256-cbc', KEY, IV).setAutoPadding(false);
  const encrypted = Buffer.concat([cipher.update(Buffer.concat([randomBytes(32), block])), cipher.final()]);
  await expect(decrypted(encrypted, info())).rejects.toMatchObject({
    code: 'invalidChecksum',
    message: expect.stringContaining('padding is wrong'),
  });
});

test('[CM-46] a checksum that does not fit is a mismatch, before anything is said of keys and padding', async () => {
  const encrypted = encrypt('cbc', randomBytes(100), KEY, IV);
  const intake = make(info(), hashOf('sha3-256', encrypted));
  encrypted[encrypted.length - 1]! ^= 1;
  await arrive(file, intake, encrypted);
  await expect(intake.finish(file, never)).rejects.toMatchObject({
    code: 'invalidChecksum',
    message: expect.stringMatching(/^its checksum is wrong: expected [0-9a-f]{64}/),
  });
});

test.each(['AES256', 'aes256/cbc', 'AES256//', 'Aes256/Cbc/pkcs7padding', 'AES256/CBC/whatever'])(
  'the algorithm may be written as "%s"',
  async (blockAlg) => {
    const encrypted = encrypt('cbc', Buffer.from('hello'), KEY, IV);
    expect(await decrypted(encrypted, info({ blockAlg }))).toEqual(Buffer.from('hello'));
  },
);

describe('refused', () => {
  test.each(['AES512/CBC', 'DES/CBC', 'AES256/ECB', ''])('algorithm "%s"', (blockAlg) => {
    expect(() => make(info({ blockAlg }))).toThrow(`cipher "${blockAlg}" is not supported`);
  });

  test('a key or an initial vector of the wrong length', () => {
    expect(() => make(info({ blockKey: KEY.subarray(1) }))).toThrow('invalid symmetric key: 31 bytes');
    expect(() => make(info({ blockIv: IV.subarray(4) }))).toThrow('invalid IV length: 12 bytes');
  });

  test.each([0, 1, 15, 17])('a file of %i bytes', async (size) => {
    await expect(decrypted(Buffer.alloc(size), info())).rejects.toMatchObject({
      code: 'invalidArgument',
      message: expect.stringContaining(`file size is incorrect: ${size} bytes`),
    });
  });

  test('the wrong key', async () => {
    const encrypted = encrypt('cbc', randomBytes(100), KEY, IV);
    const wrong = info({ blockKey: Buffer.from(KEY.map((byte) => byte ^ 1)) });
    // One in 256 keys leaves a padding that looks right; then the digest finds it.
    const outcome = await decrypted(encrypted, wrong).catch((error: unknown) => error);
    if (!Buffer.isBuffer(outcome)) expect(outcome).toMatchObject({ code: 'invalidChecksum' });
  });

  test('any changed bit of a GCM file, or one that is too short for a tag', async () => {
    const encrypted = encrypt('gcm', Buffer.from('hello'), KEY, IV);
    const gcm = info({ blockAlg: 'AES256/GCM/' });
    await fc.assert(
      fc.asyncProperty(fc.nat(encrypted.length * 8 - 1), async (bit) => {
        const damaged = Buffer.from(encrypted);
        damaged[bit >> 3]! ^= 1 << (bit & 7);
        await expect(decrypted(damaged, gcm, [3])).rejects.toThrow('layout unconfirmed');
      }),
    );
    await expect(decrypted(Buffer.alloc(15), gcm)).rejects.toThrow('15 bytes hold no tag');
  });
});
