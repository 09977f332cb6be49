import { KeyObject } from 'node:crypto';
import { chmod, chown, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeCertificate } from '../../storage/certificates-for-tests.ts';
import { keyDirectoriesOf, lookAtKeys } from './gather-keys.ts';

const ID = '00112233445566778899aabbccddeeff';

let directory: string;
let keyPath: string;
let certificatePath: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aosctl-keys-'));
  await chmod(directory, 0o700);
  [keyPath, certificatePath] = [join(directory, `sm.${ID}.key`), join(directory, `sm.${ID}.crt`)];
  await writePair(keyPath, certificatePath);
  await writeFile(join(directory, 'owner'), 'not looked at', { mode: 0o600 });
});
afterEach(() => rm(directory, { recursive: true, force: true }));

async function writePair(key: string, certificate: string): Promise<void> {
  const { keys, pem } = await makeCertificate('sm');
  const text = KeyObject.from(keys.privateKey as never).export({ type: 'pkcs8', format: 'pem' });
  await writeFile(key, text, { mode: 0o600 });
  await writeFile(certificate, pem);
}

const look = async (types = ['sm']) => lookAtKeys({ path: directory, types });

test('[P-08] directories of keys are named by the configuration of IAM, each once, with its types', () => {
  const module = (id: string, more: object = {}) => ({
    ...{ ID: id, Plugin: 'swmodule', params: { Directory: '/keys' } },
    ...more,
  });
  const certModules = [
    module('cm'),
    module('sm'),
    module('old', { disabled: true }),
    { id: 'iam', plugin: 'pkcs11module' },
    5,
  ];
  expect(keyDirectoriesOf({ CERTMODULES: certModules })).toEqual([{ path: '/keys', types: ['cm', 'sm'] }]);
  expect(keyDirectoriesOf({ certModules: 'none' })).toEqual([]);
});

describe('[P-08] keys in files', () => {
  test('that IAM made are fine; what it did not make is not looked at', async () => {
    await writeFile(join(directory, `other.${ID}.key`), 'of a type that is configured no more', { mode: 0o666 });
    expect(await look()).toEqual({
      ...{ path: directory, types: ['sm'], state: { is: 'fine' } },
      keys: [{ type: 'sm', path: keyPath, state: { is: 'fine' }, notAfter: expect.stringMatching(/^2\d{3}-/) }],
    });
  });

  test('that wait for their certificate are fine', async () => {
    await rm(certificatePath);
    expect((await look()).keys).toEqual([{ type: 'sm', path: keyPath, state: { is: 'fine' } }]);
  });

  test.each<[string, () => Promise<unknown>, object]>([
    ['are missing', () => rm(keyPath), { is: 'absent' }],
    ['others may read', () => chmod(keyPath, 0o640), { is: 'exposed', mode: '640' }],
    ['are no key', () => writeFile(keyPath, 'nothing'), { is: 'damaged', detail: expect.stringMatching(/./) }],
    ['belong to another certificate', () => writePair(keyPath, join(directory, 'x')), { is: 'other certificate' }],
    ['have a damaged certificate', () => writeFile(certificatePath, 'torn'), { is: 'other certificate' }],
    [
      'are links',
      async () => {
        await rename(keyPath, join(directory, 'elsewhere'));
        await symlink(join(directory, 'elsewhere'), keyPath);
      },
      { is: 'no file' },
    ],
  ])('that %s are told apart from others', async (_, spoil, state) => {
    await spoil();
    const found = await look();
    expect(found.state).toEqual({ is: 'fine' });
    expect(found.keys).toEqual([{ type: 'sm', path: keyPath, state }]);
  });

  test.each<[string, () => Promise<unknown>, object]>([
    ['is gone', () => rm(directory, { recursive: true }), { is: 'absent' }],
    ['others may write to', () => chmod(directory, 0o770), { is: 'shared', mode: '770' }],
    [
      'is a file',
      async () => {
        await rm(directory, { recursive: true });
        await writeFile(directory, '', { mode: 0o600 });
      },
      { is: 'no directory' },
    ],
  ])('in a directory that %s cannot be used', async (_, spoil, state) => {
    await spoil();
    expect(await look()).toEqual({ path: directory, types: ['sm'], state, keys: [] });
  });

  // Only root can give files away, and become somebody who may not look.
  describe.skipIf(process.getuid?.() !== 0)('of somebody else', () => {
    test('are refused by IAM', async () => {
      await chown(keyPath, 65_534, 65_534);
      expect((await look()).keys).toMatchObject([{ state: { is: 'foreign', uid: 65_534 } }]);
      await chown(directory, 65_534, 65_534);
      expect(await look()).toMatchObject({ state: { is: 'foreign', uid: 65_534 }, keys: [] });
    });

    test.each([0o700, 0o755])(
      'are no fault of the node when it is we who may not look (directory %o)',
      async (mode) => {
        await chmod(directory, mode);
        process.seteuid?.('nobody');
        try {
          expect(await look()).toMatchObject({ state: { is: 'closed' }, keys: [] });
        } finally {
          process.seteuid?.(0);
        }
      },
    );
  });

  test('say nothing of their content', async () => {
    await writeFile(keyPath, 'a secret', { mode: 0o600 });
    expect(JSON.stringify(await look())).not.toContain('secret');
  });
});
