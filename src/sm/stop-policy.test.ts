import { describe, expect, test } from 'vitest';
import { parseJobs, shouldStopInstances, type UnitJob, unitOf } from './stop-policy.ts';

describe('services when the service manager is asked to stop', () => {
  test.each<[UnitJob, boolean]>([
    ['stop', true],
    ['restart', false],
    ['none', false],
    ['no systemd', true],
  ])('[SM-58] by default, with the job "%s": stopped %s', (job, expected) => {
    expect(shouldStopInstances({ policy: 'auto', job })).toBe(expected);
  });

  test('the configuration can say always and never', () => {
    expect(shouldStopInstances({ policy: 'always', job: 'restart' })).toBe(true);
    expect(shouldStopInstances({ policy: 'never', job: 'stop' })).toBe(false);
  });
});

test('the unit of a process is found on hosts with either hierarchy of cgroups', () => {
  expect(unitOf('0::/system.slice/system-aos.slice/aos-sm.service\n')).toBe('aos-sm.service');
  expect(unitOf('12:cpu:/\n1:name=systemd:/system.slice/aos-sm.service/sub\n0::/\n')).toBe('aos-sm.service');
  expect(unitOf('0::/user.slice\n')).toBeUndefined();
});

test('the job of the unit is read from the list, others do not matter', () => {
  const listing = '12 other.service stop running\n13 aos-sm.service restart waiting\n';
  expect(parseJobs(listing, 'aos-sm.service')).toBe('restart');
  expect(parseJobs('13 aos-sm.service stop running', 'aos-sm.service')).toBe('stop');
  expect(parseJobs('No jobs running.', 'aos-sm.service')).toBe('none');
});
