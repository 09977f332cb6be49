import { expect, test } from 'vitest';
import { AosError, silentLogger } from '../../core/index.ts';
import { Endpoints } from './endpoints.ts';
import { linkNumbers } from './model.ts';

test('a unit whose certificate cannot be read says why, and not that it names no cloud', async () => {
  const endpoints = new Endpoints({
    systemId: 'unit',
    discovery: { serviceDiscoveryUrl: '', overrideServiceDiscoveryUrl: '' },
    ca: '',
    credentials: {
      identity: async () => {
        throw new AosError('failed', 'IAM at localhost:8090 does not answer');
      },
    },
    numbers: linkNumbers,
    logger: silentLogger,
  });
  await expect(endpoints.current(new AbortController().signal)).rejects.toThrow(
    'no address of service discovery: the certificate cannot be read (IAM at localhost:8090 does not answer) and',
  );
});
