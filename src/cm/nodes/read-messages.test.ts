import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { sm } from '../../api/contracts.ts';
import { writeAlert } from '../reports/write-alert.ts';
import { readAlert } from './read-messages.ts';

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
