import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { engineUri } from '../src/platform/token/index.ts';
import type { UnitLayout } from './layout.ts';
import { engineEnvironment, softhsmConf, softhsmLibrary } from './token.ts';

/** Uses two keys of a token in turn, and then keys in memory in all the ways that an engine in the way would break. */
const SCRIPT = `
import { createPublicKey, generateKeyPairSync, webcrypto } from 'node:crypto';
import { createSecureContext } from 'node:tls';
const useKey = (id) => createSecureContext({
  privateKeyEngine: 'pkcs11',
  privateKeyIdentifier: \`pkcs11:token=mine;object=key;id=%0\${id};type=private?pin-value=1234\`,
});
for (const id of [1, 2, 1]) useKey(id);
generateKeyPairSync('ec', { namedCurve: 'P-384' });
const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
const { publicKey } = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
createPublicKey({ key: await webcrypto.subtle.exportKey('jwk', publicKey), format: 'jwk' });
useKey(2);
console.log('done');
`;

/** Uses the key that it is given. */
const ONE_KEY = `
import { createSecureContext } from 'node:tls';
createSecureContext({ privateKeyEngine: 'pkcs11', privateKeyIdentifier: process.argv[2] });
`;

/** A token of its own, and programs that see it. */
async function withToken(pin: string, use: (run: Run, directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'aos-engine-'));
  try {
    await mkdir(join(directory, 'tokens'));
    await writeFile(join(directory, 'softhsm2.conf'), softhsmConf({ tokens: join(directory, 'tokens') } as UnitLayout));
    const env = { PATH: process.env.PATH, SOFTHSM2_CONF: join(directory, 'softhsm2.conf'), ...engineEnvironment() };
    const run: Run = (program, ...args) => {
      const { status, stdout, stderr } = spawnSync(program, args, { env, encoding: 'utf8' });
      return { status, output: stdout + stderr };
    };
    run('softhsm2-util', '--init-token', '--free', '--label', 'mine', '--so-pin', '1234', '--pin', pin);
    const token = ['--module', softhsmLibrary(), '--token-label', 'mine', '--login', '--pin', pin];
    run('pkcs11-tool', ...token, '--keypairgen', '--key-type', 'EC:secp384r1', '--id', '01', '--label', 'key');
    await use(run, directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}
type Run = (program: string, ...args: string[]) => { readonly status: number | null; readonly output: string };

test.each([30, 31, 32])('[IAM-11] a PIN of %i characters opens the token for TLS', async (length) => {
  const pin = 'secret'.repeat(6).slice(0, length);
  await withToken(pin, async (run, directory) => {
    const pinSource = join(directory, 'user pin');
    await writeFile(pinSource, pin);
    await writeFile(join(directory, 'key.mjs'), ONE_KEY);
    const uri = engineUri({ token: 'mine', object: 'key', id: Buffer.from([1]), pinSource }, pin);
    expect(run(process.execPath, join(directory, 'key.mjs'), uri)).toEqual({ status: 0, output: '' });
  });
});

test('[IAM-11] a key that is gone is complained about without the PIN, although the engine prints what it was given', async () => {
  const pin = 'secret'.repeat(5);
  await withToken(pin, async (run, directory) => {
    const pinSource = join(directory, 'user pin');
    await writeFile(pinSource, pin);
    await writeFile(join(directory, 'key.mjs'), ONE_KEY);
    const uri = engineUri({ token: 'mine', object: 'key', id: Buffer.from([2]), pinSource }, pin);
    const { status, output } = run(process.execPath, join(directory, 'key.mjs'), uri);
    expect(status).toBe(1);
    expect(output).toMatch(/private key was not found at: pkcs11:token=mine/);
    expect(output).not.toContain(pin);
  });
});

test('[X-01] keys of a token serve TLS, and the engine is in the way of no other key', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'aos-engine-'));
  try {
    await mkdir(join(directory, 'tokens'));
    await writeFile(join(directory, 'softhsm2.conf'), softhsmConf({ tokens: join(directory, 'tokens') } as UnitLayout));
    await writeFile(join(directory, 'keys.mjs'), SCRIPT);
    const env = { PATH: process.env.PATH, SOFTHSM2_CONF: join(directory, 'softhsm2.conf'), ...engineEnvironment() };
    const run = (program: string, ...args: string[]) => execFileSync(program, args, { env, stdio: 'pipe' }).toString();
    run('softhsm2-util', '--init-token', '--free', '--label', 'mine', '--so-pin', '1234', '--pin', '1234');
    for (const id of ['01', '02']) {
      const token = ['--module', softhsmLibrary(), '--token-label', 'mine', '--login', '--pin', '1234'];
      run('pkcs11-tool', ...token, '--keypairgen', '--key-type', 'EC:secp384r1', '--id', id, '--label', 'key');
    }
    expect(run(process.execPath, join(directory, 'keys.mjs'))).toBe('done\n');
  } finally {
    await rm(directory, { recursive: true });
  }
});
