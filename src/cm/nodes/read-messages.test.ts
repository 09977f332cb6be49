import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { sm } from '../../api/contracts.ts';
import { writeAlert } from '../reports/write-alert.ts';
import { readAlert, readInstances } from './read-messages.ts';

const NOW = new Date('2026-05-04T10:21:01.000Z');

/** The time that the cloud is told of an alert that a node gives this one. */
function toldTime(seconds: bigint, nanos = 0): string {
  const message = create(sm.AlertSchema, {
    timestamp: { seconds, nanos },
    AlertItem: { case: 'systemAlert', value: { message: 'x' } },
  });
  return writeAlert(readAlert('n', message), NOW).timestamp;
}

test('[X-21] [CM-123] an alert of a node whose clock tells no date has the time of its arrival', () => {
  expect(toldTime(1_777_890_000n, 250_000_000)).toBe('2026-05-04T10:20:00.250000Z');
  for (const seconds of [0n, -1n, 253_402_300_800n, 2n ** 62n, -(2n ** 62n)]) {
    expect(toldTime(seconds)).toBe('2026-05-04T10:21:01.000000Z');
  }
  expect(toldTime(253_402_300_799n, 999_999_999)).toBe('9999-12-31T23:59:59.999000Z');
});

test('[CM-90] of a report on instances only what is wrong is lost, and that is said', () => {
  const instance = (index: number) => ({ itemId: 'web', subjectId: 's', instance: BigInt(index) });
  const report = readInstances(
    [
      { instance: instance(0), state: 'active' },
      { instance: instance(1), state: 'flying' },
      { instance: instance(2), state: '', error: { aosCode: 2, message: 'no room' } },
      { instance: { ...instance(3), itemId: 'x'.repeat(65) }, state: 'active' },
      { state: 'active' },
      { instance: instance(4), state: 'inactive' },
    ].map((status) => create(sm.InstanceStatusSchema, status)),
  );
  const flying = 'unknown state "flying" of web/s/1, expected one of activating, active, inactive, failed';
  expect(report.instances).toMatchObject([
    { ident: { instance: 0 }, state: 'active' },
    { ident: { instance: 1 }, state: 'failed', error: { aosCode: 6, message: flying.slice(0, 63) }, reason: flying },
    { ident: { instance: 2 }, state: 'failed', error: { aosCode: 2, message: 'no room' } },
    { ident: { instance: 4 }, state: 'inactive' },
  ]);
  expect(report.complaints.map(({ message }) => message)).toEqual([
    flying,
    expect.stringContaining('unknown state "" of web/s/2'),
    expect.stringContaining('has more than 64 bytes'),
    expect.any(String),
  ]);
});
