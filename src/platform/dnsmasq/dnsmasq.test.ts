import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { identifyProcess, isRunning } from '../proc/index.ts';
import { HostNameServers, type NameServer } from './dnsmasq.ts';

const { signal } = new AbortController();
const RECORDS = { hosts: ['172.17.0.2\ta\ta.red # id'], own: ['red'], upstreams: ['10.0.0.100'] };

let root: string;
let server: NameServer;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'aos-dnsmasq-'));
  server = { directory: join(root, 'red'), interface: 'br-1', address: '172.17.0.1' };
});
afterEach(() => rm(root, { recursive: true, force: true }));

describe('a server that cannot be', () => {
  test('a program that is not installed is named', async () => {
    const servers = new HostNameServers({ program: 'no-such-dnsmasq' });
    await expect(servers.start(server, RECORDS, signal)).rejects.toMatchObject({
      code: 'notFound',
      message: 'no-such-dnsmasq is not installed',
    });
    expect(servers.isRunning(server)).toBe(false);
  });

  test('one that does not start says why, in its own words', async () => {
    const program = join(root, 'dnsmasq');
    await writeFile(program, '#!/bin/sh\necho "unknown interface br-1" >&2\nexit 2\n');
    await chmod(program, 0o755);
    await expect(new HostNameServers({ program }).start(server, RECORDS, signal)).rejects.toMatchObject({
      code: 'runtime',
      exitCode: 2,
      message: expect.stringContaining('unknown interface br-1'),
    });
  });
});

describe('what a crash or somebody else left', () => {
  test('a number in the pid file that another program has now is nobody of ours, and is not ended', async () => {
    const stranger = spawn('sleep', ['1000'], { stdio: 'ignore' });
    try {
      await once(stranger, 'spawn');
      await mkdir(server.directory);
      await writeFile(join(server.directory, 'pidfile'), `${stranger.pid}\n`);
      const identity = identifyProcess(stranger.pid!)!;
      const servers = new HostNameServers();
      expect(servers.isRunning(server)).toBe(false);
      await servers.update(server, RECORDS);
      await servers.stop(server.directory, signal);
      expect(isRunning(identity)).toBe(true);
      await expect(access(server.directory)).rejects.toMatchObject({ code: 'ENOENT' });
    } finally {
      stranger.kill('SIGKILL');
    }
  });

  test.each(['', 'nonsense', '-1', '0'])('a pid file that says "%s" names nobody', async (content) => {
    await mkdir(server.directory);
    await writeFile(join(server.directory, 'pidfile'), content);
    const servers = new HostNameServers();
    expect(servers.isRunning(server)).toBe(false);
    await servers.stop(server.directory, signal);
    expect(await servers.list(root)).toEqual([]);
  });

  test('records are whole for whoever reads them: nothing of a half-written file is left beside them', async () => {
    await mkdir(server.directory);
    await writeFile(join(server.directory, 'addnhosts.new'), '172.17.');
    const servers = new HostNameServers();
    await servers.update(server, RECORDS);
    expect((await servers.list(server.directory)).sort()).toEqual(['addnhosts', 'servers']);
    const texts = await Promise.all(
      ['addnhosts', 'servers'].map((name) => readFile(join(server.directory, name), 'utf8')),
    );
    expect(texts).toEqual(['172.17.0.2\ta\ta.red # id\n', 'server=/red/\nserver=10.0.0.100\n']);
  });

  test('a node that never had a name server has none, and stopping one that is not there is no error', async () => {
    const servers = new HostNameServers();
    expect(await servers.list(join(root, 'nothing'))).toEqual([]);
    await servers.stop(server.directory, signal);
  });
});
