/** Configurations that nobody would write: each is read, or refused in words that name the place. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { AosError, readDocument } from '../../core/index.ts';
import { checkConfig, IamConfig } from './iam-config.ts';

const RUNS = 3000;

const WHOLE = {
  caCert: '/ca',
  certStorage: 'iam',
  iamPublicServerURL: ':8090',
  iamProtectedServerURL: ':8089',
  mainIAMPublicServerURL: 'main:8090',
  mainIAMProtectedServerURL: 'main:8089',
  nodeReconnectInterval: '3s',
  workingDir: '/w',
  enablePermissionsHandler: true,
  startProvisioningCmdArgs: ['/bin/true'],
  authorization: { IAMProvisioningService: ['cm'] },
  identifier: {
    plugin: 'visidentifier',
    params: { visServer: 'wss://vehicle', caCertFile: '/ca', webSocketTimeout: '1s' },
  },
  nodeInfo: {
    attrs: { MainNode: '', AosComponents: 'cm,iam' },
    partitions: [{ name: 'services', types: ['services'], path: '/var' }],
    maxDMIPS: 5,
  },
  certModules: [
    {
      id: 'iam',
      plugin: 'pkcs11module',
      algorithm: 'ecc',
      maxItems: 2,
      alternativeNames: ['localhost'],
      extendedKeyUsage: ['serverAuth'],
      params: { library: '/lib.so', tokenLabel: 'aoscore', userPinPath: '/pin' },
    },
    { id: 'cm', plugin: 'swmodule', algorithm: 'ecc', maxItems: 2, params: { directory: '/var/keys' } },
  ],
};

type Path = readonly (string | number)[];

/** Every place of a value, the whole one included. */
function placesOf(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, part]) => placesOf(part, [...path, key]))];
}

/** A copy with something else in one place. */
function replaced(value: unknown, [key, ...rest]: Path, other: unknown): unknown {
  if (key === undefined) return other;
  const copy = structuredClone(value) as Record<string, unknown>;
  Object.defineProperty(copy, key, {
    value: replaced((value as Record<string, unknown>)[key], rest, other),
    ...{ enumerable: true, configurable: true, writable: true },
  });
  return copy;
}

const odd = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.constantFrom<unknown>('', 'x'.repeat(5000), -1, 1e300, 2 ** 53, null, [], {}, '10y', ':99999', 'pkcs11:', '\0'),
  fc.array(fc.constantFrom<unknown>('a', 1, null), { maxLength: 400 }),
);

test('a configuration with something else in one place is read, or refused with its reason', () =>
  fc.assert(
    fc.property(fc.constantFrom(...placesOf(WHOLE)), odd, (place, other) => {
      try {
        const { value } = readDocument(IamConfig, replaced(WHOLE, place, other), { what: 'iam.cfg' });
        checkConfig(value);
      } catch (error) {
        expect(error).toBeInstanceOf(AosError);
        expect((error as AosError).message).toMatch(/./);
      }
    }),
    { numRuns: RUNS },
  ));

test('the whole one is read, so what is refused above is refused for what was put into it', () => {
  checkConfig(readDocument(IamConfig, WHOLE, { what: 'iam.cfg' }).value);
});
