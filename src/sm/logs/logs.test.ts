import { link, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import type { LogRequest, OutgoingMessage } from '../client/index.ts';
import { logFilesOf } from '../runtime/index.ts';
import { LogFiles } from './host-logs.ts';
import { parseLogLine } from './log-file.ts';
import { type LoggedInstance, LogProvider } from './log-provider.ts';

interface Sent {
  readonly correlationId: string;
  readonly part: bigint;
  readonly partCount: bigint;
  readonly status: string;
  readonly data?: Uint8Array;
  readonly error: { readonly aosCode: number; readonly message: string };
}

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 12, 0, second));
const line = (second: number, text: string, tag = 'F') => `${at(second).toISOString()} stdout ${tag} ${text}\n`;

let directory: string;
let sent: Sent[];
let instances: LoggedInstance[];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-logs-'));
  sent = [];
  instances = ['a', 'b'].map((itemId) => ({
    id: itemId,
    ident: { itemId, subjectId: 's', instance: 0, type: 'service', preinstalled: false },
  }));
  await writeFile(join(directory, 'a'), line(1, 'one') + line(3, 'three') + line(5, 'five'));
  await writeFile(join(directory, 'b'), line(2, 'two') + line(4, 'four'));
});
afterEach(() => rm(directory, { recursive: true }));

async function ask(request: Partial<LogRequest>, limits = { maxPartSize: 262_144, maxPartCount: 80 }): Promise<Sent[]> {
  const provider = new LogProvider({
    ...limits,
    instances: () => instances,
    source: new LogFiles((id) => logFilesOf(join(directory, id))),
    send: (message) => sent.push((message as Extract<OutgoingMessage, { case: 'log' }>).value as unknown as Sent),
    logger: silentLogger,
  });
  provider.start();
  provider.request({ kind: 'instance', correlationId: 'c', filter: {}, ...request });
  await provider.stop();
  return sent;
}

const text = ({ data }: Sent) => gunzipSync(data!).toString();

describe('logs of instances', () => {
  test('[SM-55] [SM-57] lines of all that the filter means, in order of time, compressed', async () => {
    const [part] = await ask({});
    expect(part).toMatchObject({ correlationId: 'c', part: 1n, partCount: 1n, status: 'ok', error: { aosCode: 0 } });
    expect(
      text(part!)
        .split('\n')
        .map((words) => words.split(' ')[1]),
    ).toEqual([...['one', 'two', 'three', 'four', 'five'], undefined]);
    expect(text(part!)).toMatch(/^20260101120001Z one \n/);
  });

  test('[SM-55] only the times that were asked for, both included', async () => {
    const [part] = await ask({ filter: { itemId: 'a' }, from: at(3), till: at(3) });
    expect(text(part!)).toBe('20260101120003Z three \n');
  });

  test('[SM-57] a part ends before the line that would exceed its size', async () => {
    const whole = text((await ask({ filter: { itemId: 'a' } }))[0]!);
    sent = [];
    const parts = await ask({ filter: { itemId: 'a' } }, { maxPartSize: 45, maxPartCount: 80 });
    expect(parts.map(({ part, partCount }) => [part, partCount])).toEqual([
      [1n, 2n],
      [2n, 2n],
    ]);
    expect(parts.map(text).join('')).toBe(whole);
  });

  test('[SM-57] too many parts are an error, and nothing was sent before', async () => {
    const parts = await ask({}, { maxPartSize: 1, maxPartCount: 2 });
    expect(parts).toMatchObject([{ status: 'error', part: 0n, partCount: 0n, error: { aosCode: 1 } }]);
  });

  test('no instance is absent, no line is empty', async () => {
    await ask({ filter: { itemId: 'unknown' } });
    await ask({ from: at(50) });
    expect(sent).toMatchObject([
      { status: 'absent', part: 1n, partCount: 1n },
      { status: 'empty', part: 1n, partCount: 1n },
    ]);
  });

  test('an instance that has written nothing yet has an empty log', async () => {
    await rm(join(directory, 'b'));
    expect(await ask({ filter: { itemId: 'b' } })).toMatchObject([{ status: 'empty' }]);
  });
});

describe('files of an instance', () => {
  const path = (name: string) => join(directory, name);

  test('[SM-55] the file before the present one comes first', async () => {
    await writeFile(path('a.1'), line(0, 'before'));
    const [part] = await ask({ filter: { itemId: 'a' } });
    expect(text(part!)).toMatch(/^20260101120000Z before \n20260101120001Z one \n/);
  });

  test('a file that conmon has just left is read once, by whichever name it has', async () => {
    await link(path('a'), path('a.keep'));
    const once = text((await ask({ filter: { itemId: 'a' } }))[0]!);
    expect(once.match(/one/g)).toHaveLength(1);
    await rm(path('a'));
    await writeFile(path('a'), line(9, 'new'));
    sent = [];
    expect(text((await ask({ filter: { itemId: 'a' } }))[0]!)).toBe(`${once}20260101120009Z new \n`);
  });

  test('a long line that begins in one file and ends in the next is one line', async () => {
    await writeFile(path('a.1'), line(0, 'be', 'P'));
    await writeFile(path('a'), line(1, 'gin'));
    expect(text((await ask({ filter: { itemId: 'a' } }))[0]!)).toBe('20260101120001Z begin \n');
  });

  test('an endless line and binary output cost a bounded part of the log', async () => {
    const endless = Array.from({ length: 200 }, () => line(1, 'x'.repeat(8000), 'P')).join('');
    const binary = Buffer.from([0x00, 0xff, 0xfe, 0x80]);
    const head = Buffer.from(line(2, '').trimEnd());
    await writeFile(
      path('a'),
      Buffer.concat([
        Buffer.from(`${endless}${line(1, 'end')}`),
        Buffer.from([...head, 32, ...binary, 10]),
        Buffer.alloc(1_000_000, 'y'),
        Buffer.from(`\n${line(3, 'after')}`),
      ]),
    );
    const [part] = await ask({ filter: { itemId: 'a' } });
    const [first, second, third] = text(part!).split('\n');
    expect(first).toHaveLength('20260101120001Z '.length + 65_536 + 1);
    expect(second).toBe('20260101120002Z \u0000\ufffd\ufffd\ufffd ');
    expect(third).toBe('20260101120003Z after ');
  });

  test('a clock that was set back hides no later line', async () => {
    await writeFile(path('a'), line(9, 'late') + line(2, 'set back'));
    expect(text((await ask({ filter: { itemId: 'a' }, till: at(5) }))[0]!)).toBe('20260101120002Z set back \n');
  });

  test('a log that cannot be read is an error in words', async () => {
    await rm(path('a'));
    await mkdir(path('a'));
    const [answer] = await ask({ filter: { itemId: 'a' } });
    expect(answer).toMatchObject({ status: 'error', part: 0n, error: { message: expect.stringMatching(/EISDIR/) } });
  });
});

describe('crash logs', () => {
  test('[SM-56] what the instance wrote from its start to its last crash; without a crash: absent', async () => {
    instances = instances.map((entry) => (entry.id === 'a' ? { ...entry, startedAt: at(2), crashedAt: at(4) } : entry));
    const parts = await ask({ kind: 'crash' });
    expect(parts.map(text)).toEqual(['20260101120003Z three \n']);
    sent = [];
    expect(await ask({ kind: 'crash', filter: { itemId: 'b' } })).toMatchObject([{ status: 'absent' }]);
    sent = [];
    expect(await ask({ kind: 'crash', till: at(3) })).toMatchObject([{ status: 'absent' }]);
  });
});

test('[SM-54] a node without a journal says so', async () => {
  expect(await ask({ kind: 'system' })).toMatchObject([
    { status: 'error', error: { message: 'this node has no journal' } },
  ]);
});

test('long lines that were written in pieces are put together, and a line that a crash cut is left out', async () => {
  await writeFile(join(directory, 'a'), `${line(1, 'be', 'P')}${line(1, 'gin')}2026-01-01T12:00`);
  const [part] = await ask({ filter: { itemId: 'a' } });
  expect(text(part!)).toBe('20260101120001Z begin \n');
  expect(parseLogLine('nonsense')).toBeUndefined();
});
