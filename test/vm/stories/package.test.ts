/** The package goes: what a removal keeps, and that a purge leaves nothing. One machine, in this order. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keepTraces, unitImage } from '../fixture.ts';
import { Machine } from '../machine.ts';

let machine: Machine;

/** Where a file of ours could be. */
const FOUND = `find /etc /usr /lib /var /run -xdev \\( -name 'aos*' -o -name '*aoscore*' \\) -not -path '/proc/*' 2>/dev/null | sort`;
const RUNNING = `pgrep --full --list-full /usr/lib/aoscore || true`;

beforeAll(async () => {
  machine = await Machine.create({ image: unitImage(), name: 'package' });
  await machine.boot();
  await machine.until('its IAM is ready', 'systemctl is-active aos-iam-prov.service');
});

keepTraces(() => [machine]);
afterAll(() => machine?.close());

test('[P-16] a removal ends what runs and takes the programs; configuration and the data of the unit stay', async () => {
  await machine.must('echo kept >/var/aos/kept && echo "# of the integrator" >>/etc/aos/iam.cfg.mine');
  await machine.must('dpkg --remove aoscore', { timeoutS: 240 });
  expect(await machine.must(RUNNING)).toBe('');
  expect(await machine.must('ls /usr/lib/aoscore /lib/systemd/system/aos* 2>/dev/null || true')).toBe('');
  expect(await machine.must("systemctl list-units --all --no-legend 'aos*' --state=active,failed")).toBe('');
  expect(await machine.must('cat /var/aos/kept')).toBe('kept\n');
  expect(await machine.must('ls /etc/aos/iam.cfg')).toBe('/etc/aos/iam.cfg\n');
});

test('[P-16] a purge leaves nothing but what others have put there', async () => {
  await machine.must('dpkg --purge aoscore', { timeoutS: 240 });
  expect((await machine.must(FOUND)).split('\n').filter((path) => path !== '' && !path.startsWith('/var/aos'))).toEqual(
    ['/etc/aos'],
  );
  expect(await machine.must('ls /etc/aos')).toBe('iam.cfg.mine\n');
  expect(await machine.must('ls -A /var/aos')).toBe('');
});
