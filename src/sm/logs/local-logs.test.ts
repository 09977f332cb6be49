import { appendFile, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { logFilesOf } from '../runtime/index.ts';
import { LogFiles } from './host-logs.ts';
import { type LocalLogLine, localLogs } from './local-logs.ts';
import type { LoggedInstance } from './log-provider.ts';

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 12, 0, second));
const line = (second: number, text: string, tag = 'F') => `${at(second).toISOString()} stdout ${tag} ${text}\n`;

let directory: string;
let file: string;
let instances: LoggedInstance[];
let stop: AbortController;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-local-logs-'));
  file = join(directory, 'log');
  stop = new AbortController();
  instances = [
    { id: 'id-0', ident: { itemId: 'web', subjectId: 's', instance: 0, type: 'service', preinstalled: false } },
  ];
  await writeFile(file, ['one', 'two', 'three', 'four'].map((text, index) => line(index + 1, text)).join(''));
});
afterEach(async () => {
  stop.abort();
  await rm(directory, { recursive: true });
});

const ask = (query: object) =>
  localLogs(
    { instances: () => instances, source: new LogFiles(() => logFilesOf(file)) },
    { instance: 'web', ...query },
    stop.signal,
  );

async function texts(lines: AsyncIterable<LocalLogLine>): Promise<string[]> {
  const read: string[] = [];
  for await (const { text } of lines) read.push(text);
  return read;
}

async function next(lines: AsyncIterator<LocalLogLine>): Promise<string | undefined> {
  return ((await lines.next()).value as LocalLogLine | undefined)?.text;
}

describe('what is there', () => {
  test('[P-04] all lines with their times, those since a moment, or the last ones', async () => {
    expect((await ask({}).next()).value).toEqual({ at: '2026-01-01T12:00:01.000Z', text: 'one' });
    expect(await texts(ask({}))).toEqual(['one', 'two', 'three', 'four']);
    expect(await texts(ask({ since: at(3).toISOString() }))).toEqual(['three', 'four']);
    expect(await texts(ask({ since: at(2).toISOString(), till: at(3).toISOString() }))).toEqual(['two', 'three']);
    expect(await texts(ask({ tail: 2 }))).toEqual(['three', 'four']);
    expect(await texts(ask({ tail: 0 }))).toEqual([]);
  });

  test('[P-04] the run before the present one', async () => {
    instances = [{ ...instances[0]!, runsSince: at(4), formerRunFrom: at(2) }];
    expect(await texts(ask({ previous: true }))).toEqual(['two', 'three']);
    instances = [{ ...instances[0]!, formerRunFrom: undefined }];
    expect(await texts(ask({ previous: true }))).toEqual(['one', 'two', 'three']);
  });
});

describe('what is to come', () => {
  test('[P-04] followed lines come as they are written, pieces of a line together', async () => {
    const lines = ask({ follow: true, since: at(4).toISOString() });
    expect(await next(lines)).toBe('four');
    await appendFile(file, line(5, 'fi', 'P'));
    await appendFile(file, line(5, 've') + line(6, 'six'));
    expect(await next(lines)).toBe('five');
    expect(await next(lines)).toBe('six');
  });

  test('a new file is followed, and nothing of the old one is lost', async () => {
    const lines = ask({ follow: true, tail: 1 });
    expect(await next(lines)).toBe('four');
    await appendFile(file, line(5, 'last of the old'));
    await rename(file, `${file}.1`);
    await writeFile(file, line(6, 'first of the new'));
    expect(await next(lines)).toBe('last of the old');
    expect(await next(lines)).toBe('first of the new');
    await appendFile(file, line(7, 'second'));
    expect(await next(lines)).toBe('second');
  });

  test('an instance that has written nothing yet can be followed', async () => {
    await rm(file);
    const lines = ask({ follow: true });
    const first = next(lines);
    await writeFile(file, line(1, 'hello'));
    expect(await first).toBe('hello');
  });

  test('following ends when nobody listens any more', async () => {
    const lines = ask({ follow: true, tail: 0 });
    const rest = next(lines);
    stop.abort();
    expect(await rest).toBeUndefined();
  });
});

describe('what is refused', () => {
  const failure = (query: object) => expect(ask(query).next()).rejects;

  test('an unknown instance, with those that are there', () =>
    failure({ instance: 'mail' }).toMatchObject({
      code: 'notFound',
      message: 'this node has no instance "mail"; it has: web/s/0',
    }));

  test('a name that means several', async () => {
    const other = { id: 'id-1', ident: { ...instances[0]!.ident, instance: 1 } };
    instances = [...instances, other];
    await failure({}).toMatchObject({
      code: 'invalidArgument',
      message: expect.stringMatching(/web\/s\/0, web\/s\/1/),
    });
    expect(await texts(ask({ instance: 'id-0', tail: 1 }))).toEqual(['four']);
    expect(await texts(ask({ instance: 'web/s/1', tail: 1 }))).toEqual(['four']);
  });

  test.each([
    { follow: true, previous: true },
    { follow: true, till: at(1).toISOString() },
    { since: 'yesterday' },
    { tail: -1 },
    { tail: 10_001 },
    { instance: '' },
  ])('a question that makes no sense: %j', (query) => failure(query).toMatchObject({ code: 'invalidArgument' }));
});
