import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Cgroups, parseCgroupLayout } from './cgroups.ts';

const line = (mountPoint: string, type: string, options: string) =>
  `31 27 0:29 / ${mountPoint} rw,relatime - ${type} ${type} ${options}`;

describe('what is mounted', () => {
  test('version 2 alone is one tree', () => {
    expect(parseCgroupLayout(line('/sys/fs/cgroup', 'cgroup2', 'rw,nsdelegate'))).toEqual({
      version: 2,
      trees: [{ controllers: [], mountPoint: '/sys/fs/cgroup' }],
    });
  });

  test('version 1 is a tree per controller, perhaps with one of version 2 beside them', () => {
    const lines = [
      line('/sys/fs/cgroup', 'tmpfs', 'rw'),
      line('/sys/fs/cgroup/cpu,cpuacct', 'cgroup', 'rw,cpu,cpuacct'),
      line('/sys/fs/cgroup/systemd', 'cgroup', 'rw,xattr,name=systemd'),
    ];
    const trees = [
      { controllers: ['cpu', 'cpuacct'], mountPoint: '/sys/fs/cgroup/cpu,cpuacct' },
      { controllers: ['xattr', 'name=systemd'], mountPoint: '/sys/fs/cgroup/systemd' },
    ];
    expect(parseCgroupLayout(lines.join('\n'))).toEqual({ version: 1, trees, unified: undefined });
    const hybrid = [...lines, line('/sys/fs/cgroup/unified', 'cgroup2', 'rw')].join('\n');
    expect(parseCgroupLayout(hybrid)).toEqual({ version: 1, trees, unified: '/sys/fs/cgroup/unified' });
  });
});

describe('cgroups of this host', () => {
  const cgroups = new Cgroups();
  let path: string;
  beforeEach(() => {
    path = `/aos-test-${randomUUID()}/child`;
  });
  afterEach(() => cgroups.remove(path.slice(0, path.lastIndexOf('/'))));

  test('a process is moved, found, and killed with all others of its cgroup', async () => {
    const children = [1, 2].map(() => spawn('sleep', ['1000'], { stdio: 'ignore' }));
    const pids = children.map((child) => child.pid!);
    for (const pid of pids) cgroups.move(path, pid);
    expect(cgroups.processes(path).sort()).toEqual([...pids].sort());
    expect(cgroups.processes(path.slice(0, path.lastIndexOf('/')))).toHaveLength(2);
    const exits = children.map((child) => once(child, 'exit'));
    cgroups.kill(path);
    expect((await Promise.all(exits)).map(([, signal]) => signal)).toEqual(['SIGKILL', 'SIGKILL']);
    cgroups.remove(path);
    expect(existsSync(cgroups.directory(path, 'memory')!)).toBe(false);
  });

  test('a cgroup that is gone has nobody in it, no kills, and can be killed and removed', () => {
    expect(cgroups.processes(path)).toEqual([]);
    expect(cgroups.oomKills(path)).toBe(0);
    cgroups.kill(path);
    cgroups.remove(path);
  });

  test('a process that has ended meanwhile is not moved, and that is no error', async () => {
    const child = spawn('true');
    const pid = child.pid!;
    await once(child, 'exit');
    cgroups.move(path, pid);
    expect(cgroups.processes(path)).toEqual([]);
  });
});
