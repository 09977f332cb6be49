import { expect, test } from 'vitest';
import type { InstanceStatus } from '../model.ts';
import type { NewEvent } from './event-log.ts';
import { InstanceDiary, MAX_TOLD } from './instance-diary.ts';

const status = (more: Partial<InstanceStatus> = {}): InstanceStatus => ({
  ident: { itemId: 'web', subjectId: 'all', instance: 0, type: 'service', preinstalled: false },
  ...{ version: '1.0.0', nodeId: 'main', runtimeId: 'crun', manifestDigest: '', state: 'failed' },
  error: { aosCode: 1, exitCode: 3, message: 'exit code 3' },
  ...more,
});

test('[P-03] the failure of an instance is an event, once for each reason and version', () => {
  const told: NewEvent[] = [];
  const diary = new InstanceDiary({ record: (event) => told.push(event) });
  diary.take([status({ state: 'activating', error: undefined }), status()]);
  expect(told).toEqual([
    { about: { kind: 'instance', id: 'web/all/0' }, what: 'version 1.0.0 failed on main', because: 'exit code 3' },
  ]);
  // It is started again and again, and ends the same way.
  for (let restart = 0; restart < 3; restart += 1)
    diary.take([status({ state: 'active', error: undefined }), status()]);
  expect(told).toHaveLength(1);
  diary.take([status({ error: { aosCode: 1, exitCode: 137, message: 'killed by signal 9' } })]);
  diary.take([status({ version: '1.0.1' }), status({ version: '1.0.1', error: undefined })]);
  expect(told.slice(1).map(({ what, because }) => `${what}: ${because}`)).toEqual([
    'version 1.0.0 failed on main: killed by signal 9',
    'version 1.0.1 failed on main: exit code 3',
    'version 1.0.1 failed on main: no reason was given',
  ]);
});

test('what has no place was told by whoever decided so', () => {
  const told: NewEvent[] = [];
  new InstanceDiary({ record: (event) => told.push(event) }).take([status({ nodeId: '' })]);
  expect(told).toEqual([]);
});

test('what is remembered of instances that come and go is bounded', () => {
  const told: NewEvent[] = [];
  const diary = new InstanceDiary({ record: (event) => told.push(event) });
  const ident = (instance: number) => ({ ...status().ident, instance });
  for (let instance = 0; instance <= MAX_TOLD; instance += 1) diary.take([status({ ident: ident(instance) })]);
  diary.take([status({ ident: ident(MAX_TOLD) })]);
  expect(told).toHaveLength(MAX_TOLD + 1);
  // The oldest was forgotten.
  diary.take([status({ ident: ident(0) })]);
  expect(told).toHaveLength(MAX_TOLD + 2);
});
