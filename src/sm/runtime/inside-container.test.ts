/** What a service finds inside of its container. Needs root, conmon, and crun or runc. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { instanceId } from '../../core/index.ts';
import { Cgroups } from '../../platform/cgroup/index.ts';
import type { InstanceInfo } from '../model.ts';
import { NodeResource } from '../resources/index.ts';
import { cgroupPathOf } from './build-oci-config.ts';
import { MASKED_PATHS, READONLY_PATHS } from './oci-base.ts';
import { LOOPBACK, RuntimeWorld, type ServiceOptions, service } from './runtime-for-tests.ts';

const patience = () => AbortSignal.timeout(30_000);
const MEMORY_FILE = new Cgroups().layout.version === 2 ? 'memory.current' : 'memory.usage_in_bytes';
const ONCE = { restart: 'never' } as const;

let world: RuntimeWorld;
const open = async (resources: readonly unknown[] = []) => {
  await world?.close();
  world = await RuntimeWorld.create(resources.map((resource) => NodeResource.parse(resource)));
};
beforeEach(() => open());
afterEach(() => world.close());

/** Runs a script to its end; answers what it wrote to its standard output. */
async function outputOf(
  script: string,
  { config, ...options }: ServiceOptions = {},
  more: Partial<InstanceInfo> = {},
  secret?: string,
): Promise<string[]> {
  const info = world.info({ storagePath: 'out', ...more });
  const item = service(`exec > /storage/out 2>&1; ${script}; echo done`, {
    ...options,
    config: { ...ONCE, ...config },
  });
  // A script that is faster than its start counts as a service that did not stay; here that is no matter.
  await world.runtime.start({ info, item, network: LOOPBACK, secret }, patience()).catch(() => undefined);
  await world.until((changes) => ['inactive', 'failed'].includes(changes.at(-1)!.state));
  const lines = readFileSync(join(world.directory, 'storages/out/out'), 'utf8').trimEnd().split('\n');
  expect(lines.at(-1)).toBe('done');
  return lines.slice(0, -1);
}

describe('limits', () => {
  test('[SM-21] a limit in DMIPS becomes a share of processor time', async () => {
    const id = await world.start('exec sleep 1000', { config: { quotas: { cpuDMIPSLimit: 1000 } } });
    const read = (file: string) => world.cgroups.read(cgroupPathOf(id), 'cpu', file)?.trim();
    // 1000 of the node's 10000 DMIPS, on 4 cores: 0.4 of a core.
    if (world.cgroups.layout.version === 2) expect(read('cpu.max')).toBe('40000 100000');
    else expect([read('cpu.cfs_quota_us'), read('cpu.cfs_period_us')]).toEqual(['40000', '100000']);
  });

  test('[SM-22] [P-18] a service that takes more memory than its limit is killed, and its status says so', async () => {
    const ramLimit = 32 * 1024 * 1024;
    const config = { quotas: { ramLimit }, runParameters: { startBurst: 1, startInterval: '1h' } };
    const image = { cmd: ['/bin/dd', 'if=/dev/zero', 'of=/dev/null', 'bs=128M', 'count=1'] };
    await world.start('', { config, image }).catch(() => undefined);
    await world.until((changes) => changes.some(({ crash }) => crash?.gaveUp));
    const { error, crash } = world.changes.find(({ state }) => state === 'failed')!;
    expect(error).toEqual({ aosCode: 1, exitCode: 137, message: `out of memory (limit ${ramLimit})` });
    expect(crash?.outOfMemory).toBe(true);
    // conmon notes it in a file where it stands.
    expect(existsSync('oom')).toBe(false);
  });

  test('[SM-23] processes and open files are limited', async () => {
    const quotas = { pidsLimit: 7, noFileLimit: 99 };
    expect(await outputOf('ulimit -n; ulimit -u', { config: { quotas } })).toEqual(['99', '7']);
    const id = await world.start('exec sleep 1000', { config: { quotas } });
    expect(world.cgroups.read(cgroupPathOf(id), 'pids', 'pids.max')?.trim()).toBe('7');
    expect(await outputOf('ulimit -n')).toEqual(['1024']);
  });

  test('[SM-24] /tmp has the size of its limit, and does not exist without one', async () => {
    const script =
      'dd if=/dev/zero of=/tmp/file bs=1M count=3 2>/dev/null; echo $?; ls -l /tmp | while read a b c d size x; do echo $size; done';
    const [code, , size] = await outputOf(script, { config: { quotas: { tmpLimit: 1024 * 1024 } } });
    expect([code, Number(size)]).toEqual(['1', 1024 * 1024]);
    expect(await outputOf('touch /tmp/file 2>/dev/null; echo $?')).toEqual(['1']);
  });
});

describe('surroundings', () => {
  test('[SM-27] values of sysctl apply in the container', async () => {
    const config = { sysctl: { 'kernel.msgmax': '4321', 'kernel.shm_rmid_forced': '1' } };
    const script = 'cat /proc/sys/kernel/msgmax /proc/sys/kernel/shm_rmid_forced';
    expect(await outputOf(script, { config })).toEqual(['4321', '1']);
  });

  test('[SM-28] [SM-61] the environment is that of identity, image, secret, resource and override, in this order', async () => {
    await open([{ name: 'bus', envs: ['FROM=resource', 'ONLY_RESOURCE=1'] }]);
    const info = world.info();
    const { itemId, subjectId, instance } = info.ident;
    const lines = await outputOf(
      // As the first process was given it, which a shell would put in an order of its own.
      'while IFS= read -r -d "" line; do echo "$line"; done < /proc/1/environ',
      {
        config: { resources: [{ name: 'bus' }], permissions: { vis: { '*': 'r' } } },
        image: { env: ['FROM=image', 'AOS_ITEM_ID=mine', 'ONLY_IMAGE=1', 'PATH=/bin', 'LAST=image'] },
      },
      { ident: info.ident, envVars: [{ name: 'LAST', value: 'override' }] },
      'the secret',
    );
    // The runtime adds a home.
    expect(lines.filter((line) => !line.startsWith('HOME='))).toEqual([
      'PATH=/bin',
      'TERM=xterm',
      'AOS_ITEM_ID=mine',
      `AOS_SUBJECT_ID=${subjectId}`,
      `AOS_INSTANCE_INDEX=${instance}`,
      `AOS_INSTANCE_ID=${instanceId({ itemId, subjectId, instance })}`,
      'FROM=resource',
      'ONLY_IMAGE=1',
      'LAST=override',
      'AOS_SECRET=the secret',
      'ONLY_RESOURCE=1',
    ]);
  });

  test('[SM-29] storage and state are there, belong to the service, and stay', async () => {
    const script =
      'echo more >> /state.dat; echo more >> /storage/file; cat /state.dat /storage/file | while read l; do echo $l; done';
    const data = { storagePath: 'out', statePath: 'sub/state.dat' };
    expect(await outputOf(script, {}, data)).toEqual(['more', 'more']);
    expect(await outputOf(script, {}, data)).toEqual(['more', 'more', 'more', 'more']);
    const { uid, gid, mode } = statSync(join(world.directory, 'states/sub/state.dat'));
    expect([uid, gid, mode & 0o777]).toEqual([5001, 5002, 0o600]);
  });

  test('a path of a state that leads elsewhere is refused', async () => {
    const start = world.start('true', {}, { statePath: '../../etc/passwd' });
    await expect(start).rejects.toThrow('is not a path below');
  });

  test('[SM-30] certificates of the host are there, read-only', async () => {
    const [ssl, touched] = await outputOf('ls -d /etc/ssl; touch /etc/ssl/mine 2>/dev/null; echo $?');
    expect([ssl, touched]).toEqual(['/etc/ssl', '1']);
  });

  test('[SM-31] a resource brings devices, mounts, groups and variables', async () => {
    const shared = await mkdtemp(join(tmpdir(), 'aos-shared-'));
    try {
      await chmod(shared, 0o755);
      await writeFile(join(shared, 'file'), 'shared\n');
      await open([
        {
          name: 'bus',
          groups: ['dialout'],
          mounts: [{ destination: '/mnt/shared', source: shared, options: ['bind', 'ro'] }],
          envs: ['BUS=can0'],
          devices: ['/dev/full:/dev/aos/full', '/dev/urandom:/dev/aos/rnd'],
        },
      ]);
      const [file, groups, bus, full, ...rest] = await outputOf(
        'cat /mnt/shared/file; id -G; echo $BUS; (echo x > /dev/aos/full) 2>&1; (dd if=/dev/aos/rnd bs=1 count=1 2>/dev/null; true) | { read -n 0; echo read; }; dd if=/dev/mem of=/dev/null count=1 2>/dev/null; echo $?',
        { config: { resources: [{ name: 'bus', mode: 'rw' }] } },
      );
      const dialout = /^dialout:[^:]*:(\d+):/m.exec(readFileSync('/etc/group', 'utf8'))![1];
      expect([file, groups, bus]).toEqual(['shared', `5002 ${dialout}`, 'can0']);
      // The device answers as the kernel's own: there is never room.
      expect(full).toContain('No space left on device');
      expect(rest).toEqual(['read', '1']);
    } finally {
      await rm(shared, { recursive: true });
    }
  });

  test('[SM-31] a device that is granted for reading cannot be written', async () => {
    // A driver of every kernel that no runtime grants by itself.
    const directory = await mkdtemp(join(tmpdir(), 'aos-device-'));
    const node = join(directory, 'node');
    execFileSync('mknod', ['-m', '666', node, 'c', '10', '200']);
    const script = '(: < /dev/mine) 2>&1; echo $?; (: > /dev/mine) 2>&1; echo $?';
    const run = async (mode: string) => {
      await open([{ name: 'mine', devices: [`${node}:/dev/mine`] }]);
      return outputOf(script, { config: { resources: [{ name: 'mine', mode }] } });
    };
    try {
      expect(await run('rw')).toEqual(['0', '0']);
      const [read, refusal, write] = await run('r');
      expect([read, write]).toEqual(['0', '1']);
      expect(refusal).toContain('Operation not permitted');
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  test('[SM-33] a resource that the node lacks fails the instance by name', async () => {
    const start = world.start('true', { config: { resources: [{ name: 'radar' }] } });
    await expect(start).rejects.toThrow('this node has no resource "radar"');
    expect(world.changes.at(-1)).toMatchObject({ state: 'failed', error: { aosCode: 5 } });
  });

  test('[SM-13] arguments, working directory, user and host name are those of image, item and unit', async () => {
    const image = {
      entrypoint: ['/bin/sh'],
      cmd: ['-c', 'exec > /storage/out; pwd; id -u; id -g; cat /proc/sys/kernel/hostname; echo done'],
      workingDir: '/bin',
    };
    expect(await outputOf('', { image, config: { hostname: 'telemetry' } })).toEqual([
      '/bin',
      '5001',
      '5002',
      'telemetry',
    ]);
  });
});

describe('sandbox', () => {
  test('[SM-12] [O-07] it has namespaces and a cgroup of its own, named by its id, and sees no process but its own', async () => {
    const id = await world.start('exec sleep 1000');
    const pid = world.runtime.instances()[0]!.pid!;
    for (const kind of ['pid', 'ipc', 'uts', 'mnt', 'net', 'cgroup']) {
      expect(readlinkSync(`/proc/${pid}/ns/${kind}`), kind).not.toBe(readlinkSync(`/proc/self/ns/${kind}`));
    }
    // No user namespace (spec/decisions.md 4.2).
    expect(readlinkSync(`/proc/${pid}/ns/user`)).toBe(readlinkSync('/proc/self/ns/user'));
    expect(cgroupPathOf(id).endsWith(`/${id}`)).toBe(true);
    expect(world.cgroups.processes(cgroupPathOf(id))).toEqual([pid]);
    expect(world.cgroups.read(cgroupPathOf(id), 'memory', MEMORY_FILE)).toMatch(/^\d+/);
    expect(world.cgroups.read(cgroupPathOf(id), 'cpuacct', 'cpuacct.usage') ?? '0').toMatch(/^\d+/);
    const numbers = (await outputOf('ls /proc')).filter((name) => /^\d+$/.test(name));
    expect(numbers).toContain('1');
    expect(numbers.every((number) => Number(number) < 10)).toBe(true);
  });

  test('[X-16] instances of different owners reach neither the files nor the processes nor the sockets of each other', async () => {
    const secret = 'echo mine > /storage/file; echo mine > /state.dat; exec nc -l -p 7000';
    const data = { storagePath: 'a/one', statePath: 'a/state.dat', uid: 5001, gid: 5001, ownerId: 'a' };
    await world.start(secret, {}, data);
    const pid = world.runtime.instances()[0]!.pid!;
    const file = join(world.directory, 'storages/a/one/file');
    await world.untilFile(file);
    const look = `cat ${file}; cat /storage/file; cat /state.dat; kill ${pid}; nc -w 1 127.0.0.1 7000 < /dev/null; ls /proc`;
    const lines = await outputOf(look, {}, { uid: 5002, gid: 5002, ownerId: 'b' });
    expect(lines).not.toContain('mine');
    expect(lines.filter((line) => /No such file/.test(line))).toHaveLength(3);
    expect(lines.some((line) => /refused|unreachable/i.test(line))).toBe(true);
    // The first one lives, and its data is closed to the user of the other one.
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    expect(statSync(join(world.directory, 'states/a/state.dat')).mode & 0o077).toBe(0);
  });

  test('[SM-13] [R-11] no new privileges, a filter of system calls, three capabilities at most, none for a user', async () => {
    const lines = await outputOf('while read line; do echo "$line"; done < /proc/self/status');
    const value = (name: string) => lines.find((line) => line.startsWith(`${name}:`))?.split(/\s+/)[1];
    expect([value('NoNewPrivs'), value('Seccomp')]).toEqual(['1', '2']);
    // Kill, net-bind-service, audit-write.
    expect(value('CapBnd')).toBe('0000000020000420');
    expect(value('CapAmb')).toBe('0000000000000000');
    expect(value('CapInh')).toBe('0000000000000000');
  });

  test('[SM-13] [R-11] the root is read-only, the kernel masked, mounting refused', async () => {
    const script =
      'touch /file 2>/dev/null; echo $?; touch /bin/file 2>/dev/null; echo $?; cat /proc/kcore | dd bs=1 count=1 2>/dev/null; (echo 1 > /proc/sys/kernel/panic) 2>/dev/null; echo $?; mount -t tmpfs x /dev/shm 2>/dev/null; echo $?';
    const [root, bin, ...rest] = await outputOf(script);
    expect([root, bin]).toEqual(['1', '1']);
    expect(rest).not.toContain('0');
  });

  test('[SM-13] [R-11] every masked path is empty, every protected one is mounted read-only', async () => {
    // What this kernel does not have is not there to be hidden.
    const [masked, protectedOnes] = [MASKED_PATHS, READONLY_PATHS].map((paths) => paths.filter(existsSync));
    const show = masked!.map((path) => `(cat ${path} || ls -A ${path}) 2>/dev/null`).join('; ');
    const mounts = 'while read a b c d path options rest; do echo "$path $options"; done < /proc/self/mountinfo';
    const lines = await outputOf(`${show}; ${mounts}`);
    // Of a masked path nothing was shown: mounts alone were.
    expect(lines.filter((line) => !/^\/\S* r[ow](,|$)/.test(line))).toEqual([]);
    const of = (path: string) => lines.findLast((line) => line.startsWith(`${path} `));
    for (const path of masked!) expect(of(path), path).toBeDefined();
    for (const path of protectedOnes!) expect(of(path), path).toMatch(/ ro(,|$)/);
  });

  test('[R-11] a filter that was compiled once still filters', async () => {
    const script = 'while read name value; do [ $name = Seccomp: ] && echo $value; done < /proc/self/status; true';
    await world.start('exec sleep 1000');
    expect(await outputOf(script)).toEqual(['2']);
  });
});
