import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { readDocument } from '../core/index.ts';
import { CmConfig } from './config.ts';

const read = (input: unknown) => readDocument(CmConfig, input, { what: 'cm.cfg' });

test('the shipped configuration is read without a warning', async () => {
  const text = await readFile(new URL('../../packaging/etc/aos/cm.cfg', import.meta.url), 'utf8');
  const { value, warnings } = read(JSON.parse(text));
  expect(warnings).toEqual([]);
  expect(value.imageManager.installPath).toBe('/var/aos/workdirs/cm/imagemanager/install');
  expect(value.unitConfigFile).toBe('/var/aos/workdirs/cm/aos_unit.cfg');
  expect(value.imageManager.updateItemTtl).toBe(30 * 86_400_000);
});

test('[X-19] a configuration of the C++ implementation is read, its keys in any case', () => {
  const { value, warnings } = read({
    CACERT: 'ca.pem',
    workingdir: '/w',
    certStorage: 'cm',
    iamProtectedServerUrl: 'localhost:8089',
    iamPublicServerUrl: 'localhost:8090',
    cmServerUrl: ':8093',
    unitStatusSendTimeout: 'PT3S',
    monitoring: { sendPeriod: '2m', pollPeriod: '35s' },
    migration: { migrationPath: '/m', mergedMigrationPath: '/n' },
  });
  expect(warnings).toEqual([]);
  expect(value).toMatchObject({ caCert: 'ca.pem', storageDir: '/w/storages', unitStatusSendTimeout: 3000 });
  expect(value.monitoring.sendPeriod).toBe(120_000);
});

test.each(['caCert', 'workingDir', 'certStorage', 'iamProtectedServerUrl', 'iamPublicServerUrl', 'cmServerUrl'])(
  'without %s the start is refused by its name',
  (key) => {
    const whole: Record<string, string> = {
      caCert: 'c',
      workingDir: 'w',
      certStorage: 'cm',
      iamProtectedServerUrl: 'a:1',
      iamPublicServerUrl: 'a:2',
      cmServerUrl: ':3',
    };
    delete whole[key];
    expect(() => read(whole)).toThrow(new RegExp(key));
  },
);

test.each([
  ['monitoring', 'sendPeriod'],
  ['alerts', 'sendPeriod'],
  ['imageManager', 'removeOutdatedPeriod'],
  ['launcher', 'checkOverrideEnvVarsPeriod'],
])('%s.%s of zero, which would be done without a pause, is refused by its name', (section, key) => {
  const whole = { caCert: 'c', workingDir: 'w', certStorage: 'cm', iamProtectedServerUrl: 'a:1' };
  const urls = { iamPublicServerUrl: 'b:2', cmServerUrl: ':3' };
  const withZero = { ...whole, ...urls, [section]: { [key]: '0s' } };
  expect(() => read(withZero)).toThrow(`${section}.${key}: expected a duration of more than zero, for example 30s`);
});
