import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AosError } from '../core/index.ts';
import { askControl, type ControlHandlers, ControlServer, followControl, uploadControl } from './control.ts';

let directory: string;
let socket: string;
let server: ControlServer | undefined;
const stop = new AbortController().signal;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-control-'));
  socket = join(directory, 'x.sock');
});
afterEach(async () => {
  await server?.stop();
  await rm(directory, { recursive: true });
});

async function serve(handlers: ControlHandlers): Promise<void> {
  server = await ControlServer.open(socket, handlers);
}

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const read: T[] = [];
  for await (const value of values) read.push(value);
  return read;
}

test('a question is answered, a failure comes with its class and its words', async () => {
  await serve({
    '/double': (body) => (body as number) * 2,
    '/fail': () => {
      throw new AosError('outOfRange', 'that is too much');
    },
  });
  expect(await askControl(socket, '/double', 21)).toBe(42);
  await expect(askControl(socket, '/fail')).rejects.toMatchObject({ code: 'outOfRange', message: 'that is too much' });
  await expect(askControl(socket, '/other')).rejects.toThrow(/does not answer \/other/);
});

test('a stream comes value by value', async () => {
  await serve({
    '/count': async function* (body) {
      for (let n = 1; n <= (body as number); n += 1) yield { n };
    },
  });
  expect(await all(followControl(socket, '/count', 3, stop))).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  expect(await all(followControl(socket, '/count', 0, stop))).toEqual([]);
});

test('a stream that is refused, or fails in the middle, says so', async () => {
  await serve({
    // biome-ignore lint/correctness/useYield: it is refused before there is anything to yield
    '/refused': async function* () {
      throw new AosError('notFound', 'there is none');
    },
    '/half': async function* () {
      yield 1;
      throw new AosError('runtime', 'the disk is gone');
    },
  });
  const refused = followControl(socket, '/refused', {}, stop);
  await expect(refused.next()).rejects.toMatchObject({ code: 'notFound', message: 'there is none' });
  const half = followControl<number>(socket, '/half', {}, stop);
  expect((await half.next()).value).toBe(1);
  await expect(half.next()).rejects.toMatchObject({ code: 'runtime', message: 'the disk is gone' });
});

test('who stops listening ends the stream at the daemon', async () => {
  let ended: () => void = () => undefined;
  const end = new Promise<void>((resolve) => {
    ended = resolve;
  });
  await serve({
    '/forever': async function* (_, signal) {
      try {
        yield 'here';
        await once(signal, 'abort');
      } finally {
        ended();
      }
    },
  });
  const listener = new AbortController();
  const stream = followControl(socket, '/forever', {}, listener.signal);
  expect((await stream.next()).value).toBe('here');
  listener.abort();
  expect((await stream.next()).done).toBe(true);
  await end;
});

test('a listener that does not read holds up the source, and costs no memory', async () => {
  let made = 0;
  let gone: () => void = () => undefined;
  const end = new Promise<void>((resolve) => {
    gone = resolve;
  });
  await serve({
    '/flood': async function* (_, signal) {
      signal.addEventListener('abort', gone);
      while (made < 100_000) {
        made += 1;
        yield 'x'.repeat(10_000);
      }
    },
  });
  const lazy = connect(socket);
  lazy.pause();
  lazy.write('POST /flood HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}');
  // The next question is answered, so the flood waits and does not turn in circles.
  await once(lazy, 'connect');
  await expect(askControl(socket, '/other')).rejects.toThrow(/does not answer/);
  lazy.destroy();
  await end;
  expect(made).toBeLessThan(10_000);
});

test('nobody listening is told in words', async () => {
  await expect(all(followControl(socket, '/x', {}, stop))).rejects.toMatchObject({ code: 'notFound' });
  await expect(askControl(socket, '/x')).rejects.toThrow(/is it running/);
});

describe('an upload', () => {
  async function* pieces(count: number, onPiece: () => void = () => undefined) {
    for (let index = 0; index < count; index += 1) {
      onPiece();
      yield Buffer.alloc(64 * 1024, index);
    }
  }

  test('comes piece by piece, larger than any body, and is answered at its end', async () => {
    await serve({
      '/take': {
        upload: async (source) => {
          let bytes = 0;
          for await (const chunk of source) bytes += chunk.length;
          return { bytes };
        },
      },
    });
    expect(await uploadControl(socket, '/take', pieces(400), stop)).toEqual({ bytes: 400 * 64 * 1024 });
  });

  test('that is refused early is not sent to its end, and the refusal is read', async () => {
    await serve({
      '/take': {
        upload: async (source) => {
          for await (const _ of source) throw new AosError('invalidChecksum', 'it is damaged');
        },
      },
    });
    // What is lost now and then is lost within a few tries.
    for (let time = 0; time < 30; time += 1) {
      let sent = 0;
      const many = pieces(1_000_000, () => {
        sent += 1;
      });
      await expect(uploadControl(socket, '/take', many, stop)).rejects.toMatchObject({
        code: 'invalidChecksum',
        message: 'it is damaged',
      });
      expect(sent).toBeLessThan(1_000_000);
    }
  });

  test('that cannot be read throws what its source says; the daemon sees the sender go', async () => {
    const begun = Promise.withResolvers<void>();
    const end = Promise.withResolvers<string>();
    await serve({
      '/take': {
        upload: async (source, signal) => {
          signal.addEventListener('abort', () => end.resolve('gone'));
          for await (const _ of source) begun.resolve();
        },
      },
    });
    async function* broken() {
      yield Buffer.from('some');
      await begun.promise;
      throw new AosError('runtime', 'the stick was pulled out');
    }
    await expect(uploadControl(socket, '/take', broken(), stop)).rejects.toThrow('the stick was pulled out');
    expect(await end.promise).toBe('gone');
  });

  test('finds no daemon', async () => {
    await expect(uploadControl(socket, '/take', pieces(3), stop)).rejects.toMatchObject({ code: 'notFound' });
  });
});

test('a second daemon does not take the socket of a running one; one that a dead process left is replaced', async () => {
  await serve({ '/who': () => 'the first' });
  await expect(ControlServer.open(socket, { '/who': () => 'the second' })).rejects.toThrow(
    /another process answers there/,
  );
  expect(await askControl(socket, '/who')).toBe('the first');
  await server!.stop();
  server = undefined;
  // As a process that is killed leaves it.
  const dead = "require('net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))";
  spawnSync(process.execPath, ['-e', dead, socket]);
  expect(existsSync(socket)).toBe(true);
  await serve({ '/who': () => 'the next' });
  expect(await askControl(socket, '/who')).toBe('the next');
});
