import { expect, test } from 'vitest';
import { readDocument } from '../../core/index.ts';
import { checkConfig, hasMainIam, IamConfig, isMainNode } from './iam-config.ts';

const params = { library: '/lib.so', tokenLabel: 'aoscore', userPinPath: '/pin' };
const module = (changes: object = {}) => ({
  id: 'iam',
  plugin: 'pkcs11module',
  algorithm: 'ecc',
  maxItems: 2,
  params,
  ...changes,
});
const text = (changes: object = {}) => ({
  iamPublicServerURL: ':8090',
  iamProtectedServerURL: ':8089',
  workingDir: '/w',
  nodeInfo: {},
  ...changes,
});
const read = (changes: object = {}) => {
  const { value, warnings } = readDocument(IamConfig, text(changes), { what: 'iam.cfg' });
  checkConfig(value);
  return { config: value, warnings };
};

test('[X-19] keys in any case, null as absent, unknown keys reported', () => {
  const { config, warnings } = read({
    CACERT: '/ca',
    certstorage: null,
    nodeInfo: { MAXDmips: 5 },
    foo: 1,
    migration: {},
  });
  expect(config).toMatchObject({ caCert: '/ca', certStorage: '', nodeInfo: { maxDMIPS: 5 } });
  expect(warnings).toHaveLength(1);
});

test('[IAM-35] permissions are off unless switched on', () => {
  expect(read().config.enablePermissionsHandler).toBe(false);
  expect(read({ enablePermissionsHandler: true }).config.enablePermissionsHandler).toBe(true);
});

test('[IAM-36] the reconnect interval counts only when it is set', () => {
  expect(read().config.nodeReconnectInterval).toBeUndefined();
  expect(read({ nodeReconnectInterval: '10s' }).config.nodeReconnectInterval).toBe(10_000);
});

test.each<[string, object, RegExp]>([
  ['no nodeInfo', { nodeInfo: null }, /nodeInfo/],
  ['a module without params', { certModules: [module({ params: null })] }, /params/],
  ['no room for a renewal', { certModules: [module({ maxItems: 1 })] }, /maxItems.*at least 2/],
  ['no item', { certModules: [module({ maxItems: 0, selfSigned: true })] }, /maxItems/],
  ['six items', { certModules: [module({ maxItems: 6 })] }, /maxItems/],
  [
    'two ways to find a token',
    { certModules: [module({ params: { ...params, slotID: 1 } })] },
    /at most one of slotID/,
  ],
  [
    'a label that would mislead',
    { certModules: [module({ params: { ...params, tokenLabel: 'my-id=1' } })] },
    /tokenLabel/,
  ],
  [
    'a label that is too long',
    { certModules: [module({ params: { ...params, tokenLabel: 'x'.repeat(33) } })] },
    /32 bytes/,
  ],
  ['one type twice', { certModules: [module(), module()] }, /"iam" twice/],
  [
    'two PIN files for one token',
    { certModules: [module(), module({ id: 'sm', params: { ...params, userPinPath: '/other' } })] },
    /one PIN/,
  ],
  [
    'a rule for no service',
    { authorization: { IAMVersionService: ['cm'] } },
    /expected names out of IAMCertificateService/,
  ],
  ['an unknown identifier', { identifier: { plugin: 'oracle', params: {} } }, /identifier/],
  ['an attribute that is no text', { nodeInfo: { attrs: { a: 1 } } }, /attrs/],
  [
    '17 attributes',
    { nodeInfo: { attrs: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`a${i}`, ''])) } },
    /16 attributes/,
  ],
  ['a main node without identifier', { nodeInfo: { attrs: { mainnode: '' } } }, /identifier is missing/],
])('%s is refused', (_, changes, reason) => {
  expect(() => read(changes)).toThrow(reason);
});

test('[IAM-16] keys live behind a PKCS#11 library or in files; another plugin is refused by name, also when it is disabled', () => {
  for (const plugin of ['tpmmodule', 'SWMODULE', 7, null]) {
    expect(() => read({ certModules: [module({ plugin, disabled: true })] })).toThrow(
      /certModules.*expected "pkcs11module".*TPM.*"swmodule"/,
    );
  }
  const inFiles = { plugin: 'swmodule', params: { directory: '/var/keys' } };
  expect(read({ certModules: [module(inFiles)] }).config.certModules[0]).toMatchObject({
    ...{ id: 'iam', algorithm: 'ec', params: { directory: '/var/keys' } },
  });
  const odd = { ID: 'iam', PLUGIN: 'swmodule', Algorithm: 'ecc', maxitems: 2, params: { DIRECTORY: '/k' } };
  expect(read({ certModules: [odd] })).toMatchObject({
    config: { certModules: [{ id: 'iam', params: { directory: '/k' } }] },
    warnings: [],
  });
  expect(() => read({ certModules: [{ ...odd, params: { DIRECTORY: null } }] })).toThrow(
    /certModules\[0\]\.params\.directory: .*found nothing/,
  );
  const tpm = { library: '/usr/lib/libtpm2_pkcs11.so', slotID: 1, userPinPath: '/pin' };
  expect(read({ certModules: [module({ params: tpm })] }).config.certModules[0]).toMatchObject({ params: tpm });
});

test.each<[string, object, RegExp]>([
  ['no directory', { params: {} }, /params\.directory/],
  ['a relative one', { params: { directory: 'keys' } }, /params\.directory.*absolute path/],
  ['a way out of one', { params: { directory: '/var/keys/../other' } }, /params\.directory.*without "\." and "\.\."/],
  ['a type that is no name of a file', { id: '../iam' }, /certModules.*id: expected letters, digits/],
])('[IAM-16] keys in files: %s is refused', (_, changes, reason) => {
  const inFiles = { plugin: 'swmodule', params: { directory: '/var/keys' } };
  expect(() => read({ certModules: [module({ ...inFiles, ...changes })] })).toThrow(reason);
});

test('one item is enough for a self-signed type; a disabled entry may repeat a type', () => {
  read({ certModules: [module({ selfSigned: true, maxItems: 1 }), module({ disabled: true })] });
});

test('main node by attribute, secondary by both addresses', () => {
  expect(isMainNode({ MAINNODE: '' })).toBe(true);
  expect(isMainNode({ AosComponents: 'MainNode' })).toBe(false);
  expect(hasMainIam(read({ mainIAMPublicServerURL: 'a:1' }).config)).toBe(false);
  expect(hasMainIam(read({ mainIAMPublicServerURL: 'a:1', mainIAMProtectedServerURL: 'a:2' }).config)).toBe(true);
});
