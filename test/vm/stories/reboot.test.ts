/** A unit whose root cannot be written, without cloud, without a clock: what was deployed runs. One machine, in this order. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keepTraces } from '../fixture.ts';
import { cgroupOf, UnitMachine } from '../unit-machine.ts';

const RUNS = `[ -n "$(cat ${cgroupOf('steady')}/cgroup.procs)" ]`;
/** A host that has other work to do stretches a boot to minutes. */
const PATIENCE_MS = 300_000;
const DAEMONS = 'systemctl is-active aos-iam aos-cm aos-sm';

let unit: UnitMachine;

beforeAll(async () => {
  unit = await UnitMachine.create({ name: 'reboot', readOnlyRoot: true });
});

keepTraces(() => [unit?.machine]);
afterAll(() => unit?.close());

test('[O-04] a unit with a read-only root is provisioned and runs what is deployed', async () => {
  expect((await unit.machine.run('touch /etc/written /usr/written /var/lib/written')).stderr).toMatch(
    /(Read-only file system[\s\S]*){3}/,
  );
  await unit.provision();
  await unit.publish('steady', '1.0.0', 'while :; do sleep 1000; done');
  await unit.deploy('steady', '1.0.0');
  await unit.machine.must(RUNS);
});

test('[R-08] [CM-22] after a reboot without network the service runs again', async () => {
  await unit.machine.setNetwork('down');
  await unit.machine.reboot();
  await unit.machine.until('the service runs', RUNS, PATIENCE_MS);
  expect((await unit.machine.must("systemctl list-units --failed --no-legend 'aos*'")).trim()).toBe('');
});

test('[O-09] [R-03] a board that believes it is 1970 runs its service, and comes online when it learns the time', async () => {
  await unit.machine.shutDown();
  await unit.machine.boot({ clockS: 1000 });
  await unit.machine.until('the service runs', RUNS, PATIENCE_MS);
  await unit.machine.until('all daemons are ready', DAEMONS);
  // The last moment known here, which makes certificates valid; the present comes with the network.
  expect(await unit.machine.journal('-b', '-u', 'aos-clock')).toMatch(
    /the clock said 1970-01-01T.*it is set to 20\d\d/,
  );
  const pid = await unit.machine.must(`head -n 1 ${cgroupOf('steady')}/cgroup.procs`);

  await unit.machine.setNetwork('up');
  await unit.machine.setClock(new Date());
  await unit.untilCloud('the unit is online', ({ online }) => online);
  expect(await unit.machine.must(`head -n 1 ${cgroupOf('steady')}/cgroup.procs`)).toBe(pid);
  expect(await unit.machine.must(DAEMONS)).toBe('active\nactive\nactive\n');
});
