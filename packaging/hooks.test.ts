/** Hooks of the package, in directories and network namespaces of the test's own. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';

const hook = (name: string) => join(import.meta.dirname, 'hooks', name);

describe('a node that starts blank', () => {
  let directory: string;
  let mark: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'aos-hooks-'));
    mark = join(directory, 'iam', 'provisioning-under-way');
    for (const name of ['iam', 'tokens']) {
      mkdirSync(join(directory, name));
      writeFileSync(join(directory, name, 'secret'), 'x');
    }
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const wipe = () => execFileSync(hook('deprovision'), { env: { ...process.env, AOS_VAR_DIR: directory } });
  const keys = () => ['iam', 'tokens'].map((name) => existsSync(join(directory, name, 'secret')));

  test('[O-10] has no keys and no data of an earlier life', () => {
    wipe();
    expect(keys()).toEqual([false, false]);
    expect(existsSync(join(directory, 'tokens'))).toBe(true);
  });

  test('[O-10] keeps the keys of a provisioning that broke off within a day', () => {
    writeFileSync(mark, '');
    wipe();
    expect(keys()).toEqual([true, true]);
  });

  test('[O-10] keeps nothing of one that broke off longer ago', () => {
    writeFileSync(mark, '');
    const longAgo = new Date(Date.now() - 25 * 3600_000);
    utimesSync(mark, longAgo, longAgo);
    wipe();
    expect(keys()).toEqual([false, false]);
  });
});

/** Three hosts: the node, its gateway, and one beyond the gateway; and a second node on the link of the first. */
describe('the firewall of a provisioned node', () => {
  const id = randomBytes(3).toString('hex');
  const [node, peer, gateway, beyond] = ['n', 'p', 'g', 'b'].map((letter) => `aosfw-${id}-${letter}`) as [
    string,
    string,
    string,
    string,
  ];
  const listeners: ChildProcess[] = [];
  const ip = (...words: string[]) => execFileSync('ip', words, { stdio: 'pipe' });
  const inside = (namespace: string, ...words: string[]) =>
    execFileSync('ip', ['netns', 'exec', namespace, ...words], { stdio: 'pipe' });

  async function listen(port: number): Promise<void> {
    const script = `require('node:net').createServer((s) => s.end()).listen(${port}, '::', () => console.log('open'))`;
    const child = spawn('ip', ['netns', 'exec', node, process.execPath, '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    listeners.push(child);
    await once(child.stdout!, 'data');
  }

  const connect = (namespace: string, address: string, port: number) => {
    const words = ['netns', 'exec', namespace, 'timeout', '1', 'bash', '-c', `exec 3<>/dev/tcp/${address}/${port}`];
    return spawnSync('ip', words, { stdio: 'ignore' }).status;
  };

  /** Which of the ports somebody can open. */
  const openPorts = (namespace: string, address: string) =>
    [22, 8089, 8090].filter((port) => connect(namespace, address, port) === 0);

  /** True when a host says something, be it that the port is closed. */
  const answered = (namespace: string, address: string, port: number) =>
    [0, 1].includes(connect(namespace, address, port) ?? -1);

  beforeAll(async () => {
    for (const name of [node, peer, gateway, beyond]) ip('netns', 'add', name);
    // The link that node, peer and gateway share is a bridge in the gateway.
    ip('-n', gateway, 'link', 'add', 'name', 'lan', 'type', 'bridge');
    for (const [index, name] of [node, peer].entries()) {
      ip('-n', name, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', `port${index}`, 'netns', gateway);
      ip('-n', gateway, 'link', 'set', `port${index}`, 'master', 'lan', 'up');
      ip('-n', name, 'address', 'add', `10.20.0.${index + 2}/24`, 'dev', 'eth0');
      ip('-n', name, 'address', 'add', `fd20::${index + 2}/64`, 'dev', 'eth0', 'nodad');
      ip('-n', name, 'link', 'set', 'eth0', 'up');
      ip('-n', name, 'link', 'set', 'lo', 'up');
      ip('-n', name, 'route', 'add', 'default', 'via', '10.20.0.1');
    }
    ip('-n', gateway, 'link', 'set', 'lan', 'up');
    ip('-n', gateway, 'address', 'add', '10.20.0.1/24', 'dev', 'lan');
    ip('-n', gateway, 'address', 'add', 'fd20::1/64', 'dev', 'lan', 'nodad');
    ip('-n', node, '-6', 'route', 'add', 'default', 'via', 'fd20::1', 'dev', 'eth0');
    ip('-n', beyond, 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'out', 'netns', gateway);
    ip('-n', beyond, 'address', 'add', '10.30.0.2/24', 'dev', 'eth0');
    ip('-n', beyond, 'link', 'set', 'eth0', 'up');
    ip('-n', gateway, 'address', 'add', '10.30.0.1/24', 'dev', 'out');
    ip('-n', gateway, 'link', 'set', 'out', 'up');
    ip('-n', beyond, 'route', 'add', 'default', 'via', '10.30.0.1');
    inside(gateway, 'sysctl', '-qw', 'net.ipv4.ip_forward=1');
    for (const port of [22, 8089, 8090]) await listen(port);
  }, 60_000);

  afterAll(async () => {
    for (const child of listeners) {
      const gone = once(child, 'exit');
      child.kill('SIGKILL');
      await gone;
    }
    for (const name of [node, peer, gateway, beyond]) spawnSync('ip', ['netns', 'delete', name]);
  });

  test('[O-02] [X-15] closes IAM to the gateway and to what is beyond it, leaves ssh to the gateway and all to nodes of the link', () => {
    const everything = [22, 8089, 8090];
    expect(openPorts(gateway, '10.20.0.2')).toEqual(everything);
    expect(openPorts(gateway, 'fd20::2')).toEqual(everything);
    expect(openPorts(beyond, '10.20.0.2')).toEqual(everything);

    inside(node, hook('provisioning-firewall'), 'start');
    inside(node, hook('provisioning-firewall'), 'start');
    expect(openPorts(gateway, '10.20.0.2')).toEqual([22]);
    expect(openPorts(gateway, 'fd20::2')).toEqual([22]);
    expect(openPorts(beyond, '10.20.0.2')).toEqual([]);
    expect(openPorts(peer, '10.20.0.2')).toEqual(everything);
    expect(openPorts(peer, 'fd20::2')).toEqual(everything);
    expect(openPorts(node, '127.0.0.1')).toEqual(everything);
    // Connections that the node itself opens are answered.
    expect(answered(node, '10.30.0.2', 22)).toBe(true);

    inside(node, hook('provisioning-firewall'), 'stop');
    inside(node, hook('provisioning-firewall'), 'stop');
    expect(openPorts(beyond, '10.20.0.2')).toEqual(everything);
  }, 60_000);
});
