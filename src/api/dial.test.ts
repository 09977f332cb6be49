import http2 from 'node:http2';
import { type AddressInfo, connect as connectTo, createServer, type Socket } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { iam } from './contracts.ts';
import { Channel } from './dial.ts';

const QUICK = { intervalMs: 30, timeoutMs: 500 };

/** Speaks HTTP/2 and answers nothing but pings. */
class SilentServer {
  readonly server = http2.createServer();
  readonly sessions = new Set<http2.ServerHttp2Session>();
  streams = 0;
  pings = 0;

  async open(): Promise<string> {
    this.server.on('session', (session) => {
      this.sessions.add(session);
      session.on('ping', () => {
        this.pings += 1;
      });
      session.on('error', () => undefined);
    });
    this.server.on('stream', (stream) => {
      this.streams += 1;
      stream.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    for (const session of this.sessions) session.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

const server = { current: new SilentServer() };
const channels: Channel[] = [];

async function connect(): Promise<Channel> {
  server.current = new SilentServer();
  const channel = new Channel({ address: await server.current.open(), keepAlive: QUICK });
  channels.push(channel);
  return channel;
}

afterEach(async () => {
  for (const channel of channels.splice(0)) channel.close();
  await server.current.close();
});

/** Calls something that is never answered. */
function call(channel: Channel): Promise<unknown> {
  return channel
    .client(iam.IAMPublicNodesService)
    .getNodeInfo({})
    .then(
      () => 'answered',
      (error: unknown) => error,
    );
}

/** A way to a server that can stop carrying anything while its connection stays. */
async function silenceable(target: string) {
  let silent = false;
  const closed = Promise.withResolvers<void>();
  const sockets: Socket[] = [];
  const listener = createServer((near) => {
    const far = connectTo(Number(target.split(':')[1]), '127.0.0.1');
    sockets.push(near, far);
    near.on('data', (data) => silent || far.write(data)).on('close', () => closed.resolve());
    far.on('data', (data) => silent || near.write(data));
    for (const socket of [near, far]) socket.on('error', () => socket.destroy());
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const line = {
    closed: closed.promise,
    silence: () => {
      silent = true;
    },
    end: () => {
      for (const socket of sockets) socket.destroy();
      listener.close();
    },
  };
  return { line, address: `127.0.0.1:${(listener.address() as AddressInfo).port}` };
}

test('a connection without calls is kept alive by pings', async () => {
  const channel = await connect();
  await channel.ready(5_000);
  await vi.waitFor(() => expect(server.current.pings).toBeGreaterThanOrEqual(3));
  expect(server.current.sessions.size).toBe(1);
});

test('a channel that is closed while a call is open ends the call and disturbs nobody later', async () => {
  const thrown: unknown[] = [];
  const note = (error: unknown) => thrown.push(error);
  process.on('uncaughtException', note);
  try {
    const channel = await connect();
    const answer = call(channel);
    await vi.waitFor(() => expect(server.current.streams).toBe(1));
    channel.close();
    await expect(answer).resolves.toBeInstanceOf(Error);
    const pings = server.current.pings;
    await new Promise((resolve) => setTimeout(resolve, 4 * QUICK.intervalMs));
    expect(server.current.pings).toBe(pings);
    expect(thrown).toEqual([]);
  } finally {
    process.off('uncaughtException', note);
  }
});

test('a connection that the server drops while a call is open is opened again by the next call', async () => {
  const channel = await connect();
  const first = call(channel);
  await vi.waitFor(() => expect(server.current.streams).toBe(1));
  for (const session of server.current.sessions) session.destroy();
  await expect(first).resolves.toBeInstanceOf(Error);
  await new Promise((resolve) => setTimeout(resolve, 4 * QUICK.intervalMs));
  void call(channel);
  await vi.waitFor(() => expect(server.current.streams).toBe(2));
});

test('a channel that is closed because its peer fell silent disturbs nobody', async () => {
  const thrown: unknown[] = [];
  const note = (error: unknown) => thrown.push(error);
  process.on('uncaughtException', note);
  server.current = new SilentServer();
  const { line, address } = await silenceable(await server.current.open());
  try {
    const channel = new Channel({ address, keepAlive: { intervalMs: 30, timeoutMs: 100 } });
    channels.push(channel);
    const answer = call(channel).finally(() => channel.close());
    await vi.waitFor(() => expect(server.current.streams).toBe(1));
    line.silence();
    await expect(answer).resolves.toMatchObject({ message: expect.stringContaining('PING timed out') });
    // The error of the connection itself comes when its socket has been closed.
    await line.closed;
    await new Promise((resolve) => setTimeout(resolve, 4 * QUICK.intervalMs));
    expect(thrown).toEqual([]);
  } finally {
    process.off('uncaughtException', note);
    line.end();
  }
});
