/** What can be seen of a node: logs, usage, alerts and metrics of a real aos-sm with real containers, through aosctl. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, readlinkSync, statSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { sm } from '../../src/api/contracts.ts';
import { instanceId } from '../../src/core/index.ts';
import { askControl, type UsageReport } from '../../src/daemon/index.ts';
import { metricValue, parsePrometheus } from '../../src/daemon/metrics/prometheus-parser-for-tests.ts';
import { Cgroups } from '../../src/platform/cgroup/index.ts';
import { buildSm, SmNode } from './sm-node.ts';
import { until } from './until.ts';

const STORY_MS = 180_000;
const AOSCTL = new URL('../../src/cli/main.ts', import.meta.url).pathname;

let built: { readonly bundle: string; readonly directory: string };
let node: SmNode;
let port: number;
let children: ChildProcess[];

beforeAll(async () => {
  built = await buildSm();
}, STORY_MS);
afterAll(() => rm(built.directory, { recursive: true, force: true }));

beforeEach(async () => {
  children = [];
  port = await freePort();
  node = await SmNode.create(built.bundle, {
    monitoring: { pollPeriod: '1s' },
    metrics: { listen: `127.0.0.1:${port}` },
  });
  await node.start();
}, STORY_MS);
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  await node.close();
}, STORY_MS);

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port: found } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return found;
}

function start(...words: string[]): ChildProcess {
  const child = spawn(process.execPath, [AOSCTL, '--socket', node.at('cm.sock'), ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(child);
  return child;
}

async function aosctl(...words: string[]): Promise<string> {
  const child = start(...words);
  const [stdout, stderr] = await Promise.all([child.stdout!.toArray(), child.stderr!.toArray()]);
  const said = Buffer.concat(stderr).toString();
  if (child.exitCode === null) await once(child, 'exit');
  if (child.exitCode !== 0) throw new Error(`aosctl ${words.join(' ')} ended with ${child.exitCode}: ${said}`);
  return Buffer.concat(stdout).toString();
}

test(
  '[P-04] aosctl shows what an instance writes, follows it, and shows the run before, without CM and cloud',
  async () => {
    const { stream } = await node.introduced();
    const digest = await node.publish({
      script: 'echo run $(cat /proc/sys/kernel/random/uuid); while :; do sleep 1000 & wait; done',
    });
    await node.update(stream, [node.service('web', digest)]);
    const logs = (...more: string[]) => aosctl('logs', 'web', ...more);
    const first = await until('the first line is there', logs, (text) => /^run \S+\n$/.test(text));
    const away = await node.cm.goAway();

    const lines = createInterface({ input: start('logs', '-f', 'web').stdout! })[Symbol.asyncIterator]();
    expect(`${(await lines.next()).value}\n`).toBe(first);
    const { web: pid } = await node.pids();
    process.kill(pid!, 'SIGKILL');
    // The SM starts it again, and the follower hears of it.
    const second = `${(await lines.next()).value}\n`;
    expect(second).toMatch(/^run /);
    expect(second).not.toBe(first);

    await until(
      'it runs again',
      () => node.pids(),
      (pids) => pids.web !== undefined && pids.web !== pid,
    );
    expect(await logs('--previous')).toBe(first);
    expect(await logs('--tail', '1', '--timestamps')).toMatch(/^\d{4}-\S+Z run /);
    expect(JSON.parse(await aosctl('--json', 'logs', 'web', '-n', '1'))).toMatchObject({ text: second.trim() });
    expect(await logs('--since', '2h')).toBe(first + second);
    expect(await logs('--until', '2h')).toBe('');
    await expect(aosctl('logs', 'mail')).rejects.toThrow(/this node has no instance "mail"; it has: web\//);
    await away();
  },
  STORY_MS,
);

test(
  '[SM-49] [SM-52] a load generator in an instance is measured, raises its alert, holds it, and drops it',
  async () => {
    const { stream } = await node.introduced();
    const digest = await node.publish({ script: 'while :; do :; done' });
    const percents = (minThreshold: number, maxThreshold: number) => ({ minThreshold, maxThreshold });
    const service = node.service('busy', digest, { monitoring: { alertRules: { cpu: percents(5, 10) } } });
    await node.update(stream, [service]);

    const alerts: string[] = [];
    const next = async (): Promise<sm.InstanceQuotaAlert> => {
      for (;;) {
        const message = await stream.next();
        if (message.case !== 'alert' || message.value.AlertItem.case !== 'instanceQuotaAlert') continue;
        const { value } = message.value.AlertItem;
        alerts.push(value.status);
        return value;
      }
    };
    expect(await next()).toMatchObject({ parameter: 'cpu', status: 'raise', instance: { itemId: 'busy' } });
    expect(await next()).toMatchObject({ status: 'continue' });
    const { busy: pid } = await node.pids();
    process.kill(pid!, 'SIGSTOP');
    while ((await next()).status !== 'fall');
    expect(alerts.filter((status) => status === 'raise')).toHaveLength(1);
    expect(alerts.filter((status) => status === 'fall')).toHaveLength(1);
    expect(await aosctl('alerts')).toMatch(/instanceQuotaAlert +busy\/.*\/0 +cpu raise: \d+/);
  },
  STORY_MS,
);

test(
  '[P-14] [O-07] Prometheus scrapes daemon, node and instance; the same numbers stand in the cgroup of the instance id',
  async () => {
    const { stream } = await node.introduced();
    const digest = await node.publish({ script: 'i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; sleep 1000' });
    const service = node.service('web', digest);
    await node.update(stream, [service]);
    const labels = { item: 'web', instance: '0' };
    const scrape = async () => parsePrometheus(await (await fetch(`http://127.0.0.1:${port}/metrics`)).text());
    const metrics = await until(
      'the instance has used the processor',
      scrape,
      (found) => (metricValue(found, 'aos_instance_cpu_seconds_total', labels) ?? 0) > 0,
    );
    expect(metricValue(metrics, 'aos_build_info', { program: 'aos-sm' })).toBe(1);
    expect(metricValue(metrics, 'process_cpu_seconds_total')).toBeGreaterThan(0);
    expect(metricValue(metrics, 'aos_node_memory_used_bytes')).toBeGreaterThan(1e6);
    expect(metricValue(metrics, 'aos_instances', { state: 'active' })).toBe(1);
    expect(metricValue(metrics, 'aos_sm_cm_connected')).toBe(1);

    const cgroups = new Cgroups();
    const [running] = await node.instances();
    expect(running!.cgroupPath).toContain(instanceId(service.ident));
    const isNew = cgroups.layout.version === 2;
    const file = isNew ? 'memory.current' : 'memory.usage_in_bytes';
    const memory = Number(cgroups.read(running!.cgroupPath, 'memory', file));
    expect(memory).toBeGreaterThan(0);
    const cpu = isNew
      ? Number(/usage_usec (\d+)/.exec(cgroups.read(running!.cgroupPath, 'cpu', 'cpu.stat') ?? '')?.[1]) / 1e6
      : Number(cgroups.read(running!.cgroupPath, 'cpuacct', 'cpuacct.usage')) / 1e9;
    // The container has stopped counting; nobody else is in its cgroup.
    const usage = await askControl<UsageReport>(node.at('sm.sock'), '/usage');
    // Whole microseconds: the same count, divided otherwise, differs in its last digit.
    expect(Math.round(usage.instances[0]!.cpuUs)).toBeGreaterThanOrEqual(Math.floor(cpu * 1e6));
    expect(readFileSync(`/proc/${running!.pid}/cgroup`, 'utf8')).toContain(instanceId(service.ident));

    const top = JSON.parse(await aosctl('--json', 'top', '--once')) as { instances: { itemId: string }[] };
    expect(top.instances.map(({ itemId }) => itemId)).toEqual(['web']);
    expect(await aosctl('top', '--once')).toMatch(/node node-[\s\S]*web\/.*\/0 +1\.0\.0/);
  },
  STORY_MS,
);

test(
  '[P-05] aosctl runs a command in an instance, with its user, files, limits and exit code, and its own input',
  async () => {
    const { stream } = await node.introduced();
    const digest = await node.publish({ files: [{ name: 'mark', content: 'of the image' }] });
    await node.update(stream, [node.service('web', digest), node.service('other', digest)]);
    const exec = async (input: string, ...words: string[]) => {
      const child = spawn(process.execPath, [AOSCTL, '--socket', node.at('cm.sock'), ...words]);
      children.push(child);
      child.stdin.end(input);
      const [stdout, stderr] = await Promise.all([child.stdout.toArray(), child.stderr.toArray()]);
      if (child.exitCode === null) await once(child, 'exit');
      return {
        status: child.exitCode,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      };
    };
    const { web } = await node.pids();
    const inside = await exec(
      'from outside',
      'exec',
      'web',
      '--',
      'sh',
      '-c',
      'cat /mark; id -u; readlink /proc/self/ns/pid; cat',
    );
    expect(inside.stderr).toBe('');
    const [mark, processes, rest] = inside.stdout.split('\n');
    expect(mark).toBe(`of the image${statSync(`/proc/${web}`).uid}`);
    expect(processes).toBe(readlinkSync(`/proc/${web}/ns/pid`));
    expect(rest).toBe('from outside');

    // It counts against the limits of the instance: in each tree with controllers it is where the first process is.
    const groups = await exec('', 'exec', 'web', '--', 'sh', '-c', 'cat /proc/1/cgroup; echo; cat /proc/self/cgroup');
    const controlled = groups.stdout
      .split('\n\n')
      .map((text) => text.split('\n').filter((line) => line !== ''))
      .map((lines) => (lines.length === 1 ? lines : lines.filter((line) => !line.startsWith('0::'))));
    expect(controlled[1]).toEqual(controlled[0]);
    expect(controlled[0]!.length).toBeGreaterThan(0);

    expect((await exec('exit 7', 'exec', 'web')).status).toBe(7);
    expect((await exec('', 'exec', 'web', '--', 'sh', '-c', 'kill -TERM $$')).status).toBe(128 + 15);
    const missing = await exec('', 'exec', 'web', '--', 'no-such-program');
    expect(missing.status).not.toBe(0);
    expect(missing.stderr).toMatch(/no-such-program/);
    const gone = await exec('', 'exec', 'gone', '--', 'ls');
    expect(gone).toMatchObject({ status: 1, stdout: '' });
    expect(gone.stderr).toMatch(/no instance "gone"; it has: (?=.*other)(?=.*web)/);
    expect((await exec('', 'exec', '--unit', 'far', 'web', '--', 'ls')).status).not.toBe(0);
    expect((await node.pids()).web).toBe(web);
  },
  STORY_MS,
);
