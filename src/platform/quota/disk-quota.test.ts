import { expect, test } from 'vitest';
import { mountPointOf, parseQuotaReport } from './disk-quota.ts';

test('a path lies on the deepest mount above it, whatever its name', () => {
  const info = [
    '1 0 8:1 / / rw - ext4 /dev/sda1 rw',
    '2 1 8:2 / /var/aos rw - ext4 /dev/sda2 rw',
    '3 1 8:3 / /var/aos\\040data rw - ext4 /dev/sda3 rw',
  ].join('\n');
  expect(mountPointOf('/var/aos/storages', info)).toBe('/var/aos');
  expect(mountPointOf('/var/aosx', info)).toBe('/');
  expect(mountPointOf('/var/aos data/x', info)).toBe('/var/aos data');
});

test('a report of quotas is read by its head; what is no user is left out', () => {
  const report = [
    'User,BlockStatus,FileStatus,BlockUsed,BlockSoftLimit,BlockHardLimit,BlockGrace,FileUsed',
    '#0,ok,ok,20,0,0,,2',
    '#5000,ok,ok,7,0,100,,1',
    'somebody,ok,ok,7,0,100,,1',
    '#5001,ok,ok,nonsense,0,100,,1',
    '',
  ].join('\n');
  expect([...parseQuotaReport(report)]).toEqual([
    [0, 20_480],
    [5000, 7168],
  ]);
  expect(() => parseQuotaReport('*** Report for user quotas')).toThrow(/cannot be read: \*\*\* Report/);
});
