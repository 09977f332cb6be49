/** `aosctl status` of this machine, as somebody reads it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { ControlServer, type UnitReport, type WhyReport } from '../daemon/index.ts';
import { EXIT } from './exit-codes.ts';
import { aosctl } from './program.ts';

const PATIENCE_MS = 10_000;
const NO_UPDATE = 'update: none has run yet';
const NEVER = '1970-01-01T00:00:00.000Z';

let directory: string;
let server: ControlServer;
let report: UnitReport;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aosctl-status-'));
  server = await ControlServer.open(join(directory, 'cm.sock'), {
    '/status': async () => report,
    '/events': async () => [],
    '/why': async (): Promise<WhyReport> => ({
      kind: 'update',
      id: 'update',
      now: 'none has run yet',
      reasons: [{ what: 'it waits', because: 'drive holds a lock' }],
    }),
  });
});
afterAll(async () => {
  await server.stop();
  await rm(directory, { recursive: true, force: true });
});

async function run(...args: readonly string[]): Promise<{ readonly code: number; readonly text: string }> {
  let text = '';
  const stream = {
    write: (part: string) => {
      text += part;
    },
  };
  const surroundings = { stdout: stream, stderr: stream, env: {}, signal: new AbortController().signal };
  const code = await aosctl(args, surroundings);
  return { code, text };
}

async function said(...args: readonly string[]): Promise<string> {
  const { code, text } = await run('--socket', join(directory, 'cm.sock'), ...args);
  expect(code).toBe(EXIT.done);
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

test('[P-02] [P-07] a command for a daemon that a blank node does not run says so, and what to do', async () => {
  const blank = join(directory, 'blank');
  const iam = await ControlServer.open(join(blank, 'iam.sock'), { '/status': () => ({ mode: 'provisioning' }) });
  try {
    for (const [daemon, words] of [
      ['cm', ['why', 'update']],
      ['cm', ['events', '--watch']],
      ['sm', ['logs', 'web']],
    ] as const) {
      const { code, text } = await run('--socket', join(blank, 'cm.sock'), ...words);
      expect(text).toContain(`this node is blank, so aos-${daemon} does not run: "aosctl provision`);
      expect(code).toBe(EXIT.unreachable);
    }
  } finally {
    await iam.stop();
  }
});

test('[P-02] [P-03] the update is called by its name once, and why it is as it is told', async () => {
  expect(await said('why', 'update')).toBe('update: none has run yet\n  it waits: drive holds a lock\n');
});

test('[P-02] [P-03] an update and its reasons are followed with --watch: told again when they have changed', async () => {
  report = BLANK;
  const end = new AbortController();
  let text = '';
  const stream = {
    write: (part: string) => {
      text += part;
    },
  };
  const surroundings = { stdout: stream, stderr: stream, env: {}, signal: end.signal };
  const socket = ['--socket', join(directory, 'cm.sock')];
  const ended = ['update', 'why update'].map((words) =>
    aosctl([...socket, ...words.split(' '), '--watch'], surroundings),
  );
  await vi.waitFor(
    () => expect(text.split('\n').toSorted()).toEqual(expect.arrayContaining(['none', NO_UPDATE])),
    PATIENCE_MS,
  );
  report = { ...BLANK, update: { state: 'downloading', since: '2026-01-02T00:00:00.000Z' } };
  await vi.waitFor(() => expect(text).toContain('downloading since 2026-01-02'), PATIENCE_MS);
  end.abort();
  expect(await Promise.all(ended)).toEqual([EXIT.done, EXIT.done]);
  // What has not changed is not told again.
  expect(text.split(NO_UPDATE)).toHaveLength(2);
});

test('[P-02] a unit that remembers nothing of a thing says so', async () => {
  expect(await said('events')).toBe('nothing is remembered\n');
  expect(await said('events', '--about', 'web')).toBe('nothing is remembered about web\n');
  expect(await said('--json', 'events')).toBe('nothing is remembered\n');
});
