import { expect, test } from 'vitest';
import { keyDirectory } from './diagnose-keys.ts';
import type { KeyDirectoryFact, KeyFact } from './facts.ts';

const key = (state: KeyFact['state'] = { is: 'fine' }, type = 'sm'): KeyFact => ({
  ...{ type, path: `/keys/${type}.1a.key`, state },
});
const directory = (more: Partial<KeyDirectoryFact> = {}): KeyDirectoryFact => ({
  ...{ path: '/keys', types: ['sm'], state: { is: 'fine' }, keys: [key()] },
  ...more,
});

test('[P-08] keys in files that are in order are one finding', () => {
  const keys = [key(), key({ is: 'fine' }, 'cm')];
  expect(keyDirectory(directory({ types: ['sm', 'cm'], keys }))).toEqual([
    { check: 'keys /keys', level: 'ok', found: '2 keys of sm, cm' },
  ]);
});

test.each<[string, KeyDirectoryFact['state'], 'fault' | 'warning', RegExp, RegExp]>([
  ['is gone', { is: 'absent' }, 'fault', /does not exist/, /mounted.*provision it again/],
  ['is closed to us', { is: 'closed' }, 'warning', /may not look/, /sudo aosctl doctor/],
  ['is a file', { is: 'no directory' }, 'fault', /no directory/, /move it away/],
  ['is open to others', { is: 'shared', mode: '770' }, 'fault', /mode 770.*others could put/, /chmod 700 \/keys/],
  ['is of somebody else', { is: 'foreign', uid: 1000 }, 'fault', /user 1000/, /chown root: \/keys/],
])('[P-08] a directory of keys that %s is a finding with its cure', (_, state, level, found, cure) => {
  expect(keyDirectory(directory({ state, keys: [] }))).toEqual([
    { check: 'keys /keys', level, found: expect.stringMatching(found), cure: expect.stringMatching(cure) },
  ]);
});

test.each<[string, KeyFact['state'], RegExp, RegExp]>([
  ['is missing', { is: 'absent' }, /sm\.1a\.key is missing/, /aosctl renew --unit/],
  ['others may read', { is: 'exposed', mode: '640' }, /mode 640.*copied/, /chmod 600/],
  ['is of somebody else', { is: 'foreign', uid: 7 }, /user 7/, /chown root/],
  ['is a link', { is: 'no file' }, /a link or no file/, /put the file itself/],
  ['cannot be read', { is: 'unreadable', detail: 'EIO: i/o error' }, /cannot be read: EIO/, /dmesg/],
  ['is damaged', { is: 'damaged', detail: 'ERR_OSSL_UNSUPPORTED' }, /holds no key: ERR_OSSL/, /backup/],
  ['belongs to another certificate', { is: 'other certificate' }, /not the key of the certificate/, /renew/],
])('[P-08] a key file that %s is a fault with its cure', (_, state, found, cure) => {
  expect(keyDirectory(directory({ keys: [key(state)] }))).toEqual([
    { check: 'key sm', level: 'fault', found: expect.stringMatching(found), cure: expect.stringMatching(cure) },
  ]);
});

test('[P-08] a type without any key file is a fault', () => {
  expect(keyDirectory(directory({ types: ['sm', 'iam'] }))).toEqual([
    expect.objectContaining({ check: 'key iam', level: 'fault', found: 'there is none in /keys' }),
  ]);
});
