/** `aosctl status` of this machine, as somebody reads it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ControlServer, type UnitReport } from '../daemon/index.ts';
import { aosctl } from './program.ts';

const NEVER = '1970-01-01T00:00:00.000Z';

let directory: string;
let server: ControlServer;
let report: UnitReport;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aosctl-status-'));
  server = await ControlServer.open(join(directory, 'cm.sock'), {
    '/status': async () => report,
    '/events': async () => [],
  });
});
afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

async function said(...args: readonly string[]): Promise<string> {
  let text = '';
  const stream = {
    write: (part: string) => {
      text += part;
    },
  };
  const surroundings = { stdout: stream, stderr: stream, env: {}, signal: new AbortController().signal };
  expect(await aosctl(['--socket', join(directory, 'cm.sock'), ...args], surroundings)).toBe(0);
  return text;
}

const BLANK: UnitReport = {
  systemId: 'unit-1',
  unitModel: 'demo',
  cloud: { state: 'connected', since: '2026-01-01T00:00:00.000Z' },
  update: { state: 'none', since: NEVER },
  unitConfig: { state: 'absent' },
  nodes: [],
  items: [],
  instances: [],
};

test('[P-02] a unit on which nothing has happened yet says what it has not', async () => {
  report = BLANK;
  expect(await said('status')).toBe(
    [
      'unit         unit-1 (demo)',
      'cloud        connected since 2026-01-01T00:00:00.000Z',
      'update       none',
      'unit config  absent',
      ...['', 'no nodes', '', 'no items', '', 'no instances', ''],
    ].join('\n'),
  );
  expect(await said('update')).toBe('none\n');
});

test('[P-02] an update that was carried out says since when there is none', async () => {
  report = { ...BLANK, update: { state: 'none', since: '2026-01-02T00:00:00.000Z' } };
  expect(await said('status')).toContain('update       none since 2026-01-02T00:00:00.000Z\n');
  expect(await said('update')).toBe('none since 2026-01-02T00:00:00.000Z\n');
});

test('[P-02] a unit that remembers nothing of a thing says so', async () => {
  expect(await said('events')).toBe('nothing is remembered\n');
  expect(await said('events', '--about', 'web')).toBe('nothing is remembered about web\n');
  expect(await said('--json', 'events')).toBe('nothing is remembered\n');
});
