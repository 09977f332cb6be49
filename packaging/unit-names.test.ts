/** The hook that serves the names of the unit, with the real dnsmasq, on a host of its own: a network namespace. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

const HOOK = join(import.meta.dirname, 'hooks', 'unit-names');
const ADDRESS = '10.0.0.100';
const WAIT = { timeout: 20_000, interval: 100 };

let directory: string;
let namespace: string;
let server: ChildProcess | undefined;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'aos-names-'));
  // The name server gives its privileges up, and reads the names again and again.
  chmodSync(directory, 0o755);
  mkdirSync(join(directory, 'dns'));
  namespace = `aos-names-${randomBytes(4).toString('hex')}`;
  execFileSync('ip', ['netns', 'add', namespace]);
  host('ip', 'link', 'set', 'lo', 'up');
  configure({ dnsIp: ADDRESS });
});

afterEach(async () => {
  if (server !== undefined && server.exitCode === null && server.kill('SIGKILL')) await once(server, 'exit');
  server = undefined;
  execFileSync('ip', ['netns', 'delete', namespace]);
  rmSync(directory, { recursive: true });
});

const configure = (keys: Readonly<Record<string, string>>) =>
  writeFileSync(
    join(directory, 'cm.cfg'),
    JSON.stringify({ ...keys, dnsStoragePath: join(directory, 'dns'), cmServerUrl: ':8093' }, undefined, 2),
  );
const host = (...words: readonly string[]) =>
  execFileSync('ip', ['netns', 'exec', namespace, ...words], {
    encoding: 'utf8',
    env: { ...process.env, AOS_CM_CONFIG: join(directory, 'cm.cfg'), AOS_RUN_DIR: directory },
    stdio: 'pipe',
  });
const addressesOfLo = () => host('ip', '-4', '-brief', 'address', 'show', 'dev', 'lo');
const ask = (name: string) => host('dig', '+short', '+time=1', '+tries=1', `@${ADDRESS}`, name).trim();
const write = (hosts: string) => writeFileSync(join(directory, 'dns', 'addnhosts'), hosts);

/** Starts the server as systemd does. */
function serve(): void {
  host(HOOK, 'wanted');
  server = spawn('ip', ['netns', 'exec', namespace, HOOK, 'serve'], {
    env: { ...process.env, AOS_CM_CONFIG: join(directory, 'cm.cfg'), AOS_RUN_DIR: directory },
    stdio: 'ignore',
  });
}

test('[CM-99] the names that the CM writes are answered at dnsIp, new ones after a signal to the process in the file', async () => {
  write('172.17.0.2\tmosquitto\n');
  serve();
  await vi.waitFor(() => expect(ask('mosquitto')).toBe('172.17.0.2'), WAIT);

  write('172.17.0.2\tmosquitto\n172.18.0.2\tclock\n');
  process.kill(Number(readFileSync(join(directory, 'dns', 'pidfile'), 'utf8')), 'SIGHUP');
  await vi.waitFor(() => expect(ask('clock')).toBe('172.18.0.2'), WAIT);
  expect(server!.exitCode).toBeNull();
});

test('before there is a name the server runs, and it takes its address back when it ends', async () => {
  const before = addressesOfLo();
  serve();
  await vi.waitFor(() => expect(ask('nobody')).toBe(''), WAIT);
  expect(addressesOfLo()).toContain(`${ADDRESS}/32`);
  server!.kill('SIGKILL');
  await once(server!, 'exit');
  host(HOOK, 'withdraw');
  expect(addressesOfLo()).toBe(before);
  host(HOOK, 'withdraw');
});

test('an address that the node has already is used, and stays', async () => {
  host('ip', 'address', 'add', `${ADDRESS}/24`, 'dev', 'lo');
  const before = addressesOfLo();
  write('172.17.0.2\tmosquitto\n');
  serve();
  await vi.waitFor(() => expect(ask('mosquitto')).toBe('172.17.0.2'), WAIT);
  server!.kill('SIGKILL');
  await once(server!, 'exit');
  host(HOOK, 'withdraw');
  expect(addressesOfLo()).toBe(before);
});

test('an address of another machine in a network of this node is not taken, and named', () => {
  host('ip', 'link', 'add', 'wire', 'type', 'bridge');
  host('ip', 'address', 'add', '10.0.0.5/24', 'dev', 'wire');
  host('ip', 'link', 'set', 'wire', 'up');
  expect(() => host(HOOK, 'wanted')).toThrow(
    expect.objectContaining({ stdout: expect.stringMatching(/10\.0\.0\.0\/24/) }),
  );
});

test('without dnsIp nothing is served', () => {
  configure({});
  expect(() => host(HOOK, 'wanted')).toThrow(expect.objectContaining({ status: 1, stdout: '' }));
});
