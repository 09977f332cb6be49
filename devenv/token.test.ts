import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
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
