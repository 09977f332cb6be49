/**
 * The hook that encrypts the data disk, with a real token and stand-ins for what changes the machine: who holds the key,
 * and when. The whole of it, with a real disk, is a story of the virtual machine.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { UnitLayout } from '../devenv/layout.ts';
import { softhsmConf, softhsmLibrary } from '../devenv/token.ts';

const HOOK = join(import.meta.dirname, 'hooks', 'disk-encryption');

/** Keeps the header's token and the key that it was given, as files of the test. */
const CRYPTSETUP = `#!/bin/sh
echo "$*" >>calls
case "$*" in
  *isLuks*) test -f header ;;
  "token import"*) cat >header ;;
  "token export"*) cat header ;;
  luksFormat*) while [ "$1" != --key-file ]; do shift; done; cp "$2" formatted-with ;;
  *"open "*"--key-file - "*) cat >opened-with; test -s opened-with ;;
  *"open "*) : ;;
  erase*) rm -f header ;;
esac
`;

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'aos-disk-'));
  const bin = join(directory, 'bin');
  for (const name of ['bin', 'tokens', 'iam']) mkdirSync(join(directory, name));
  writeFileSync(join(bin, 'cryptsetup'), CRYPTSETUP);
  for (const name of ['mkfs.ext4', 'mount', 'umount', 'modprobe']) writeFileSync(join(bin, name), '#!/bin/sh\n');
  writeFileSync(join(bin, 'mountpoint'), '#!/bin/sh\nexit 1\n');
  for (const name of readdirSync(bin)) chmodSync(join(bin, name), 0o755);
  writeFileSync(join(directory, 'softhsm2.conf'), softhsmConf({ tokens: join(directory, 'tokens') } as UnitLayout));
  writeFileSync(join(directory, 'iam', '.usrpin'), 'pin-of-the-node');
  execFileSync('mknod', [join(directory, 'disk'), 'b', '7', '250']);
  const token = ['--token-label', 'aoscore', '--login', '--pin', 'pin-of-the-node'];
  run('softhsm2-util', '--init-token', '--free', '--label', 'aoscore', '--so-pin', '1234', '--pin', 'pin-of-the-node');
  const key = ['--keypairgen', '--key-type', 'rsa:2048', '--label', 'diskencryption', '--id', '01'];
  run('pkcs11-tool', '--module', softhsmLibrary(), ...token, ...key);
});

afterEach(() => rmSync(directory, { recursive: true }));

const env = () => ({
  PATH: `${join(directory, 'bin')}:${process.env.PATH}`,
  SOFTHSM2_CONF: join(directory, 'softhsm2.conf'),
  PKCS11_MODULE_PATH: softhsmLibrary(),
  AOS_VAR_DIR: directory,
  AOS_DATA_DEVICE: join(directory, 'disk'),
});
const run = (program: string, ...words: string[]) =>
  execFileSync(program, words, { env: env(), cwd: directory, stdio: 'pipe' }).toString();
const read = (name: string) => readFileSync(join(directory, name));

test('[O-03] the key that opens the volume is the one it was made with; the header has it for the token only', () => {
  run(HOOK, 'create');
  const key = read('formatted-with');
  expect(key).toHaveLength(64);
  const header = read('header');
  expect(header.includes(key.toString('base64'))).toBe(false);
  expect(JSON.parse(header.toString())).toMatchObject({ type: 'aoscore', keyslots: ['0'] });

  run(HOOK, 'open');
  expect(read('opened-with')).toEqual(key);
  expect(readdirSync('/run').filter((name) => name.startsWith('aos-disk.'))).toEqual([]);
});

test('[O-03] made again, the volume has another key', () => {
  run(HOOK, 'create');
  const key = read('formatted-with');
  run(HOOK, 'create');
  expect(read('formatted-with')).not.toEqual(key);
});

test('[O-03] without the PIN, or without the key in the token, it fails and says why', () => {
  run(HOOK, 'create');
  writeFileSync(join(directory, 'iam', '.usrpin'), 'of-another-node');
  const wrongPin = spawnSync(HOOK, ['open'], { env: env(), cwd: directory, encoding: 'utf8' });
  expect(wrongPin.status).not.toBe(0);
  expect(wrongPin.stderr).toMatch(/cannot be had from token aoscore with the PIN of .*\.usrpin/);
  expect(read('opened-with')).toHaveLength(0);

  const noKey = spawnSync(HOOK, ['create'], {
    env: { ...env(), AOS_DATA_TOKEN: 'no-such-token' },
    cwd: directory,
    encoding: 'utf8',
  });
  expect(noKey.status).not.toBe(0);
  expect(noKey.stderr).toMatch(/token no-such-token has no key diskencryption/);
});

test('[O-03] removed, the header is gone; without a device nothing happens', () => {
  run(HOOK, 'create');
  run(HOOK, 'remove');
  expect(existsSync(join(directory, 'header'))).toBe(false);
  const calls = read('calls').toString();
  execFileSync(HOOK, ['create'], { env: { ...env(), AOS_DATA_DEVICE: '' }, cwd: directory });
  expect(read('calls').toString()).toBe(calls);
});
