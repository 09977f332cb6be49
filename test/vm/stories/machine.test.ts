/** The test bed itself: a machine does what a board does, and breaks as one does. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { startTimeOf } from '../../../devenv/daemon-process.ts';
import { bareImage, keepTraces } from '../fixture.ts';
import { Machine } from '../machine.ts';
import { MachineNetwork } from '../network.ts';

let network: MachineNetwork;
let machine: Machine;

beforeAll(async () => {
  network = await MachineNetwork.create();
  machine = await Machine.create({ image: bareImage(), network, random: () => 0 });
  await machine.boot();
});

keepTraces(() => [machine]);

afterAll(async () => {
  await machine?.close();
  await network?.remove();
});

test('it has what the build machines lack: systemd, cgroup v2, quotas, VLANs, netem, fs-verity, overlays', async () => {
  expect(await machine.must('cat /proc/1/comm')).toBe('systemd\n');
  expect(await machine.must('stat -f -c %T /sys/fs/cgroup')).toBe('cgroup2fs\n');
  await machine.must('setquota -u 5000 100 100 0 0 /var/aos');
  const { status } = await machine.run(
    'mkdir -m 777 /var/aos/q && setpriv --reuid=5000 dd if=/dev/zero of=/var/aos/q/full bs=1M count=1',
  );
  expect(status).not.toBe(0);
  await machine.must('rm -r /var/aos/q');
  await machine.must('ip link add link eth0 name eth0.7 type vlan id 7 && ip link delete eth0.7');
  await machine.must('tc qdisc add dev eth0 root netem delay 1ms && tc qdisc delete dev eth0 root');
  await machine.must(
    'mkdir -p /var/aos/o/low /var/aos/o/up /var/aos/o/work /var/aos/o/all && mount -t overlay overlay -o lowerdir=/var/aos/o/low,upperdir=/var/aos/o/up,workdir=/var/aos/o/work /var/aos/o/all && umount /var/aos/o/all',
  );
  expect(await machine.must('grep CONFIG_FS_VERITY= /boot/config-*')).toBe('CONFIG_FS_VERITY=y\n');
});

test('files go in and come out as they are', async () => {
  const content = Buffer.from(Array.from({ length: 70_000 }, (_, index) => index % 256));
  await machine.copyIn(content, '/var/aos/some/where', '0600');
  expect(await machine.copyOut('/var/aos/some/where')).toEqual(content);
  expect(await machine.must('stat -c %a /var/aos/some/where')).toBe('600\n');
});

test('a failing script is told with its words', async () => {
  await expect(machine.run('echo out; echo err >&2; exit 3')).resolves.toMatchObject({
    status: 3,
    stdout: 'out\n',
    stderr: 'err\n',
  });
  expect((await machine.run('sleep 100', { timeoutS: 1 })).status).toBe(124);
});

test('the disk can be full, and free again', async () => {
  await machine.fillDisk('/var/aos');
  expect((await machine.run('dd if=/dev/zero of=/var/aos/more bs=1M count=4')).stderr).toMatch(/No space left/);
  await machine.freeDisk('/var/aos');
  await machine.must('dd if=/dev/zero of=/var/aos/more bs=1M count=4 && rm /var/aos/more');
});

test('the clock can be wrong', async () => {
  await machine.setClock(new Date('1970-01-02T00:00:00Z'));
  expect(await machine.must('date +%Y')).toBe('1970\n');
  await machine.setClock(new Date());
});

test('a power cut loses what was not flushed, and nothing that was; the next boot is another one', async () => {
  const boot = await machine.must('cat /proc/sys/kernel/random/boot_id');
  await machine.must('echo kept >/var/aos/kept && sync');
  await machine.must('echo lost >/var/aos/lost');
  await machine.cutPower();
  expect(machine.isOn).toBe(false);
  await machine.boot({ clockS: 1000 });
  expect(await machine.must('cat /var/aos/kept')).toBe('kept\n');
  expect((await machine.run('grep lost /var/aos/lost')).status).not.toBe(0);
  expect(await machine.must('cat /proc/sys/kernel/random/boot_id')).not.toBe(boot);
  expect(await machine.must('date +%Y')).toBe('1970\n');
  expect(await machine.journal('--boot')).toMatch(/Linux version/);
});

test('a machine that cannot boot ends in bounded time, with its console in the error', async () => {
  const image = bareImage();
  const broken = join(machine.directory, 'no-initrd');
  writeFileSync(broken, 'this is no RAM disk');
  const other = await Machine.create({ image: { ...image, initrd: broken }, name: 'broken' });
  await expect(other.boot()).rejects.toThrow(/did not boot[\s\S]*Kernel panic/);
  other.forgetFailure();
  await other.close();
});

test('a machine that hangs is given up in bounded time, with its console in the error', async () => {
  // An empty file masks the agent; nobody will ever answer.
  const files = { '/etc/systemd/system/machine-agent.service': '' };
  const other = await Machine.create({ image: bareImage(), name: 'hanging', kernelWords: ['ignore_loglevel'], files });
  await expect(other.boot({ timeoutMs: 25_000 })).rejects.toThrow(/no sign of life within 25 s[\s\S]*\[ +\d+\.\d+\]/);
  expect(other.isOn).toBe(false);
  other.forgetFailure();
  await other.close();
});

test('a machine that panics ends what runs in it at once, with its console in the error', async () => {
  await expect(machine.run('echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 100')).rejects.toThrow(
    /the machine is gone[\s\S]*sysrq triggered crash/,
  );
  await vi.waitUntil(() => !machine.isOn, { timeout: 60_000 });
  machine.forgetFailure();
});

test('a machine ends with its run, also when that is killed', async () => {
  const script = join(import.meta.dirname, '..', 'killed-run-for-tests.ts');
  const run = spawn(process.execPath, [script, JSON.stringify(bareImage())], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(run.stdout, 'data')) as [Buffer];
  const { pid, directory } = JSON.parse(line.toString()) as { pid: number; directory: string };
  expect(startTimeOf(pid)).toBeDefined();
  run.kill('SIGKILL');
  await vi.waitUntil(() => startTimeOf(pid) === undefined, { timeout: 60_000 });
  await rm(directory, { recursive: true });
});
