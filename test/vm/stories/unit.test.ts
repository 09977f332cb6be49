/** A unit as it comes out of the package: installed, provisioned, used, restarted, stopped. One machine, in this order. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keepTraces } from '../fixture.ts';
import { cgroupOf, instanceIdOf, UnitMachine } from '../unit-machine.ts';

const MIB = 1024 * 1024;

/** Tells that it runs; says on request (a file in its storage) how writing beyond its limits ends. */
const SERVICE = `echo "$$ says hello"
while :; do
  if [ -e /storage/fill ]; then
    /bin/busybox rm /storage/fill
    /bin/busybox dd if=/dev/zero of=/storage/big bs=64k count=64 2>&1
    /bin/busybox dd if=/dev/zero of=/state.dat bs=64k count=64 2>&1
    /bin/busybox rm /storage/big
    echo "that was all"
  fi
  sleep 1
done`;

let unit: UnitMachine;

/** The first process of the only instance of an item. */
async function pidOf(itemId: string): Promise<number> {
  return Number((await unit.machine.must(`head -n 1 ${cgroupOf(itemId)}/cgroup.procs`)).trim());
}

beforeAll(async () => {
  unit = await UnitMachine.create({ name: 'unit' });
});

keepTraces(() => [unit?.machine]);
afterAll(() => unit?.close());

test('[P-16] the package is installed, and systemd has nothing to say against its units', async () => {
  expect(await unit.machine.must('dpkg --status aoscore | grep ^Status:')).toBe('Status: install ok installed\n');
  const verified = await unit.machine.must('systemd-analyze verify /lib/systemd/system/aos*.service aos.target 2>&1');
  expect(verified).toBe('');
});

test('[P-16] a blank unit waits to be provisioned: nothing but its IAM runs', async () => {
  await unit.machine.until('IAM is ready', 'systemctl is-active aos-iam-prov.service');
  expect((await unit.machine.run('systemctl is-active aos-iam aos-cm aos-sm')).stdout).toBe(
    'inactive\ninactive\ninactive\n',
  );
  expect(await unit.machine.must("systemctl list-units --failed --no-legend 'aos*'")).toBe('');
});

test('[P-07] it is provisioned from outside, and comes online by itself', async () => {
  await unit.provision();
  expect(await unit.machine.must('cat /var/aos/.provisionstate')).toBe('provisioned');
  const daemons = 'systemctl is-active aos-iam aos-cm aos-sm';
  expect(await unit.machine.until('all daemons are ready', daemons)).toBe('active\nactive\nactive\n');
});

test('[X-04] its daemons are services of one target that say when they are ready, and come back when they die', async () => {
  for (const name of ['aos-iam', 'aos-cm', 'aos-sm']) {
    const shown = await unit.machine.must(`systemctl show ${name} --property=Type,Restart,RestartUSec,PartOf`);
    expect(shown.trim().split('\n').sort()).toEqual([
      'PartOf=aos.target',
      'Restart=always',
      'RestartUSec=10s',
      'Type=notify',
    ]);
  }
  await unit.machine.must('systemctl kill --signal=KILL --kill-who=main aos-cm');
  await unit.machine.until('it was started again', 'test "$(systemctl show aos-cm --property=NRestarts --value)" = 1');
  await unit.machine.until('it is ready', 'systemctl is-active aos-cm');
  await unit.untilCloud('the unit is online', (seen) => seen.online);
});

test('[SM-21] [SM-22] [SM-23] a service runs in a cgroup (version 2) of its own, with its limits', async () => {
  const quotas = { ramLimit: 32 * MIB, pidsLimit: 16, cpuDMIPSLimit: 8000, storageLimit: 2 * MIB, stateLimit: 4096 };
  // It asks for next to nothing: the machine is busy with itself.
  await unit.publish('hello', '1.0.0', SERVICE, { config: { quotas, requestedResources: { cpu: 1, ram: MIB } } });
  await unit.deploy('hello', '1.0.0');
  const read = (file: string) => unit.machine.must(`cat ${cgroupOf('hello')}/${file}`);
  expect(await read('memory.max')).toBe(`${32 * MIB}\n`);
  expect(await read('pids.max')).toBe('16\n');
  expect(await read('cpu.max')).not.toMatch(/^max/);
});

test('what it prints is in the journal, under its id', async () => {
  const lines = await unit.machine.journal('--boot', '--output=cat', `CONTAINER_ID_FULL=${instanceIdOf('hello')}`);
  expect(lines).toMatch(/says hello/);
});

/** Where the unit serves names for all networks, by the default configuration. */
const UNIT_NAMES = '10.0.0.100';
const BRIDGE = `ip -4 -oneline address show | sed -n 's/^[0-9]*: br-[^ ]* *inet \\([0-9.]*\\).*/\\1/p'`;
const ADDRESS = `ip netns exec ${instanceIdOf('hello')} ip -4 -oneline address show dev eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'`;
const lookUp = (server: string) => `busybox nslookup -type=a 0.default.hello ${server}`;

test('[SM-40] [CM-99] its name is answered by the name server of its network, and by that of the unit', async () => {
  expect(await unit.machine.must('systemctl is-active aos-dns.service')).toBe('active\n');
  const [address, bridge] = [(await unit.machine.must(ADDRESS)).trim(), (await unit.machine.must(BRIDGE)).trim()];
  expect(address).toMatch(/^172\./);
  for (const server of [bridge, UNIT_NAMES]) {
    expect(await unit.machine.until(`${server} answers`, lookUp(server))).toMatch(
      new RegExp(`Name:\\s*0\\.default\\.hello\\s+Address(?: 1)?: ${address.replaceAll('.', '\\.')}\\s`),
    );
  }
});

test('[SM-25] it cannot write beyond the quotas of its storage and state', async () => {
  await unit.machine.must(`touch "$(echo /proc/${await pidOf('hello')}/root/storage)/fill"`);
  const words = `journalctl --boot --output=cat CONTAINER_ID_FULL=${instanceIdOf('hello')}`;
  const said = await unit.machine.until(
    'it has tried',
    `${words} | tee /dev/stderr | grep -q "that was all" && ${words}`,
  );
  expect(said).toMatch(/\/storage\/big.*Disk quota exceeded/);
  expect(said).toMatch(/\/state\.dat.*Disk quota exceeded/);
  // The limits of storage and state together, in blocks of a KiB, as the file system itself tells them.
  expect(await unit.machine.must('repquota --user /var/aos')).toMatch(/^#\d+ +-- +\d+ +\d+ +2052 /m);
  // Others are not touched by it.
  await unit.machine.must('dd if=/dev/zero of=/var/aos/more bs=1M count=8 && rm /var/aos/more');
});

/** The cloud has the unit, and the service in it. */
const untilSeen = () =>
  unit.untilCloud(
    'the unit is online and sees it',
    ({ online, instances = [] }) =>
      online && instances.some(({ item, instances: [first] }) => item.id === 'hello' && first?.state === 'active'),
  );

test.each(['aos-sm', 'aos-cm', 'aos-iam'])(
  '[R-08] [SM-58] a restart of %s leaves the service alone',
  async (daemon) => {
    const pid = await pidOf('hello');
    await unit.machine.must(`systemctl restart ${daemon}.service`, { timeoutS: 240 });
    expect(await pidOf('hello')).toBe(pid);
    await untilSeen();
    expect(await pidOf('hello')).toBe(pid);
  },
);

test('[R-08] so does an upgrade of the package, which restarts the target and all daemons with it', async () => {
  const pid = await pidOf('hello');
  const daemons = 'systemctl show --property=MainPID aos-iam aos-cm aos-sm aos-dns';
  const before = (await unit.machine.must(daemons)).split('\n').filter(Boolean);
  await unit.machine.must('sh /var/lib/dpkg/info/aoscore.postinst configure 0.0.1', { timeoutS: 300 });
  await unit.machine.until('the name server is back', lookUp(UNIT_NAMES));
  await untilSeen();
  for (const line of (await unit.machine.must(daemons)).split('\n').filter(Boolean)) expect(before).not.toContain(line);
  expect(await pidOf('hello')).toBe(pid);
});

/** What of the unit is in the way of others: nothing, when each line is empty. */
const LEFT = `ps -eo args | grep -E '^(/usr/lib/aoscore/|/usr/bin/conmon|dnsmasq|crun|/bin/sh -c echo)' || true
findmnt --noheadings --raw --output TARGET | grep -E '^(/run/aos|/var/aos|/run/netns)/' || true
ip netns list
ip -brief link | grep -vE '^(lo|eth0) ' || true
ip -4 -brief address show to ${UNIT_NAMES}
ls /run/aos/unit-names-address 2>/dev/null || true
nft list tables
ls -d ${cgroupOf('hello')} 2>/dev/null || true`;

test('[O-01] stopping the target leaves nothing behind, and starting it brings everything back', async () => {
  expect(await unit.machine.must(LEFT)).not.toBe('');
  // It answers before the services that are part of the target have stopped.
  await unit.machine.must('systemctl stop aos.target', { timeoutS: 240 });
  await unit.machine.until('nothing is left', `left=$(${LEFT}); echo "$left"; [ -z "$left" ]`);
  expect(await unit.machine.must("systemctl list-units --failed --no-legend 'aos*'")).toBe('');
  await unit.machine.must('systemctl start aos.target', { timeoutS: 240 });
  await unit.machine.until('the service runs again', `[ -n "$(cat ${cgroupOf('hello')}/cgroup.procs)" ]`);
});
