import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { digestOf } from '../core/index.ts';
import { arrive } from './arrive-for-tests.ts';
import { makeCertificate, makeKeys } from './certificates-for-tests.ts';
import {
  BlobStore,
  checkSignature,
  type DecryptInfo,
  DecryptingIntake,
  type InstallOutcome,
  installBlob,
  installDecrypted,
  parseCertificates,
  parseChecksum,
  type SignatureTrust,
  type SignInfo,
} from './index.ts';

const PLAIN = randomBytes(700_001);
const DIGEST = digestOf(PLAIN);
const KEY = randomBytes(32);
const IV = randomBytes(16);
const DECRYPT_INFO = { blockAlg: 'AES256/CBC/PKCS7PADDING', blockIv: IV, blockKey: KEY };

let directory: string;
let store: BlobStore;
let downloadedFile: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-install-'));
  store = await BlobStore.open(join(directory, 'blobs'));
  downloadedFile = join(directory, 'download');
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

/** What a tool that knows nothing of this project makes of the plain content. */
function encryptWithOpenssl(): Buffer {
  const args = ['enc', '-aes-256-cbc', '-K', KEY.toString('hex'), '-iv', IV.toString('hex')];
  return execFileSync('openssl', args, { input: PLAIN, maxBuffer: 10_000_000 });
}

const checksum = (bytes: Buffer, hash = 'sha3-256') => createHash(hash).update(bytes).digest('hex');

interface Blob {
  readonly checksum?: string;
  readonly decryptInfo?: DecryptInfo | undefined;
  readonly signature?: { readonly info: SignInfo; readonly trust: SignatureTrust };
  readonly signal?: AbortSignal;
}

/** Lets a blob arrive and stores it, through an intake when it is encrypted. */
async function install(content: Buffer, blob: Blob = {}): Promise<InstallOutcome> {
  const { decryptInfo, signature, signal = new AbortController().signal } = blob;
  const checksum = blob.checksum === undefined ? undefined : parseChecksum(blob.checksum);
  const request = { store, digest: DIGEST, downloadedFile, signal };
  const intake =
    decryptInfo &&
    new DecryptingIntake({
      ...{ decryptInfo, sizeBytes: content.byteLength, checksum },
      ...(signature && { beginSignature: () => checkSignature(signature.info, signature.trust) }),
    });
  await arrive(downloadedFile, intake, content);
  return intake ? installDecrypted(request, intake) : installBlob({ ...request, checksum, signature });
}

async function signedByOpenssl(content: Buffer): Promise<{ info: SignInfo; trust: SignatureTrust }> {
  const root = await makeCertificate('Root', { ca: true });
  const signer = await makeCertificate('Signer', { issuer: root, keys: await makeKeys('rsa') });
  const keyFile = join(directory, 'key.pem');
  await writeFile(keyFile, signer.privateKey.export({ format: 'pem', type: 'pkcs8' }));
  const value = execFileSync('openssl', ['dgst', '-sha256', '-sign', keyFile], { input: content });
  await rm(keyFile);
  return {
    info: { chainName: 'c', alg: 'RSA/SHA256/PKCS1v1_5', value, trustedTimestamp: new Date() },
    trust: {
      certificates: [{ fingerprint: 'F', der: signer.der }],
      chains: [{ name: 'c', fingerprints: ['F'] }],
      roots: parseCertificates(root.pem),
      claimedTime: {},
    },
  };
}

async function expectOnlyStored(): Promise<void> {
  expect((await readFile(store.path(DIGEST))).equals(PLAIN)).toBe(true);
  expect(await readdir(directory)).toEqual(['blobs']);
}

async function expectNothingLeft(): Promise<void> {
  expect(await readdir(directory)).toEqual(['blobs']);
  expect(await readdir(join(directory, 'blobs', 'sha256'))).toEqual([]);
}

describe('[CM-44] [CM-46] a good download is stored', () => {
  test('encrypted and signed', async () => {
    const encrypted = encryptWithOpenssl();
    const outcome = await install(encrypted, {
      checksum: checksum(encrypted),
      decryptInfo: DECRYPT_INFO,
      signature: await signedByOpenssl(PLAIN),
    });
    expect(outcome).toEqual({ stored: true });
    await expectOnlyStored();
  });

  test('in the clear, with and without checksum and signature', async () => {
    expect(await install(PLAIN)).toEqual({ stored: true });
    await store.remove(DIGEST);
    await install(PLAIN, { checksum: checksum(PLAIN), signature: await signedByOpenssl(PLAIN) });
    await expectOnlyStored();
  });

  test.each(['hex', 'base64'] as const)('with its checksum as SHA3-256 or SHA-256 in %s', async (encoding) => {
    const encrypted = encryptWithOpenssl();
    for (const hash of ['sha3-256', 'sha256']) {
      for (const [content, decryptInfo] of [[encrypted, DECRYPT_INFO] as const, [PLAIN, undefined] as const]) {
        const text = createHash(hash).update(content).digest(encoding);
        expect(await install(content, { checksum: text, decryptInfo })).toEqual({ stored: true });
        await expectOnlyStored();
        await store.remove(DIGEST);
      }
    }
  });
});

describe('a bad download', () => {
  test('[CM-46] with one flipped byte is a mismatch, another download may help', async () => {
    for (const [good, decryptInfo] of [[encryptWithOpenssl(), DECRYPT_INFO] as const, [PLAIN, undefined] as const]) {
      const bad = Buffer.from(good);
      // In the last block, where it breaks the padding too: the checksum must have the first word.
      bad[bad.length - 1]! ^= 1;
      const outcome = await install(bad, { checksum: checksum(good), decryptInfo });
      expect(outcome).toMatchObject({ stored: false, mismatch: { code: 'invalidChecksum' } });
      await expectNothingLeft();
    }
  });

  test('[CM-46] whose checksum fits and whose content is not that of the digest fails for good', async () => {
    const other = Buffer.from(PLAIN);
    other[5]! ^= 1;
    await expect(install(other, { checksum: checksum(other) })).rejects.toMatchObject({
      code: 'invalidChecksum',
      message: `the content is ${digestOf(other)}, expected ${DIGEST}`,
    });
    await expectNothingLeft();
  });

  test('[X-14] with a signature of something else fails for good', async () => {
    const signature = await signedByOpenssl(Buffer.from('something else'));
    const encrypted = encryptWithOpenssl();
    const install1 = install(encrypted, { checksum: checksum(encrypted), decryptInfo: DECRYPT_INFO, signature });
    await expect(install1).rejects.toMatchObject({
      code: 'invalidChecksum',
      message: expect.stringContaining('signature is wrong'),
    });
    await expectNothingLeft();
    await expect(install(PLAIN, { signature })).rejects.toThrow('signature is wrong');
    await expectNothingLeft();
  });

  test('with the wrong key, an unknown cipher, a checksum that is none fails for good', async () => {
    const encrypted = encryptWithOpenssl();
    const wrongKey = { ...DECRYPT_INFO, blockKey: randomBytes(32) };
    await expect(install(encrypted, { checksum: checksum(encrypted), decryptInfo: wrongKey })).rejects.toMatchObject({
      code: 'invalidChecksum',
    });
    await expect(install(encrypted, { decryptInfo: { ...DECRYPT_INFO, blockAlg: 'ROT13' } })).rejects.toMatchObject({
      code: 'notSupported',
    });
    await expect(install(PLAIN, { checksum: 'abc' })).rejects.toThrow('checksum "abc" is neither');
    await expectNothingLeft();
  });

  test('whose work is canceled stays where it is', async () => {
    const controller = new AbortController();
    controller.abort();
    await expect(install(PLAIN, { signal: controller.signal })).rejects.toMatchObject({ code: 'canceled' });
    expect((await readFile(downloadedFile)).equals(PLAIN)).toBe(true);
  });
});
