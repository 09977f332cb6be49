import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { sm } from '../../api/contracts.ts';
import { PeerIdentity } from './peer-identity.ts';
import { ServiceManagerMemory } from './service-manager-memory.ts';

const log = (correlationId: string, sizeBytes: number) =>
  create(sm.SMOutgoingMessagesSchema, {
    SMOutgoingMessage: {
      case: 'log',
      value: create(sm.LogDataSchema, { correlationId, data: new Uint8Array(sizeBytes), status: 'ok' }),
    },
  });

const replayed = (memory: ServiceManagerMemory) =>
  memory.replay().map(({ SMOutgoingMessage: { value } }) => (value as sm.LogData).correlationId);

test('[MP-11] of what waits for the CM the newest are kept: 256, together not more than 4 MiB', () => {
  const memory = new ServiceManagerMemory(new PeerIdentity());
  for (let index = 0; index < 300; index += 1) memory.hold(log(`small ${index}`, 10));
  const small = replayed(memory);
  expect([small.length, small[0], small.at(-1)]).toEqual([256, 'small 44', 'small 299']);
  for (let index = 0; index < 10; index += 1) memory.hold(log(`large ${index}`, 1_000_000));
  expect(replayed(memory)).toEqual(['large 6', 'large 7', 'large 8', 'large 9']);
  expect(replayed(memory)).toEqual([]);
});
