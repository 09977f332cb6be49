/** Connections whose first bytes are read before TLS begins. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer as createNetServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { createServer, type Server, connect as secureConnect } from 'node:tls';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../cloud-for-tests.ts';
import { Authority } from '../pki/authority.ts';
import { FrugalListener } from './frugal-listener.ts';

let authority: Authority;
let tls: Server;
let listener: FrugalListener;

beforeAll(async () => {
  const directory = await mkdtemp(join(tmpdir(), 'aos-frugal-'));
  try {
    authority = await Authority.open({ directory, hostName: 'localhost', otherNames: [], now: () => new Date() });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

beforeEach(async () => {
  // An echo, to the end.
  tls = createServer({ cert: authority.server.chain, key: authority.server.key }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  tls.on('tlsClientError', (_, socket) => socket.destroy());
  await open(60_000);
});

afterEach(() => listener.stop());

async function open(patienceMs: number): Promise<void> {
  await listener?.stop();
  listener = new FrugalListener(tls, patienceMs);
  await new Promise<void>((resolve) => listener.server.listen(0, '127.0.0.1', resolve));
}

const port = () => (listener.server.address() as AddressInfo).port;
const secure = (to = port()) =>
  secureConnect({ host: '127.0.0.1', port: to, servername: 'localhost', ca: authority.rootPem });
const connections = () =>
  new Promise<number>((resolve) => listener.server.getConnections((_, count) => resolve(count)));

/** Passes on what it gets one byte after the other. */
async function drip(): Promise<{ readonly port: number; close(): void }> {
  const server = createNetServer((near) => {
    const far = connect({ host: '127.0.0.1', port: port(), noDelay: true });
    near.on('data', async (bytes) => {
      near.pause();
      for (const byte of bytes) {
        far.write(Buffer.of(byte));
        await new Promise((resolve) => setImmediate(resolve));
      }
      near.resume();
    });
    near.on('close', () => far.destroy());
    far.pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}

async function echoes(client: ReturnType<typeof secure>, content: Buffer): Promise<boolean> {
  client.end(content);
  return (await buffer(client)).equals(content);
}

describe('a frugal listener', () => {
  test('messages of any size pass, on many connections at once, and nothing of them stays', async () => {
    const sizes = [1, 1000, 20_000, 3_000_000, 5, 70_000];
    const passed = await Promise.all(sizes.map((size) => echoes(secure(), randomBytes(size))));
    expect(passed).toEqual(sizes.map(() => true));
    await eventually(connections).toBe(0);
  });

  test('whoever serves a connection knows where it comes from, also with many that greet at once', async () => {
    const known: (string | undefined)[] = [];
    tls.on('secureConnection', ({ remoteAddress, remotePort }) => known.push(`${remoteAddress} ${remotePort}`));
    const clients = Array.from({ length: 20 }, () => secure());
    await Promise.all(clients.map((client) => once(client, 'secureConnect')));
    await eventually(async () => known.length).toBe(clients.length);
    expect(known.toSorted()).toEqual(clients.map(({ localPort }) => `127.0.0.1 ${localPort}`).toSorted());
    for (const client of clients) client.destroy();
  });

  test('a greeting that comes byte by byte is a greeting', async () => {
    const slow = await drip();
    const client = secure(slow.port);
    client.write('h');
    expect(String((await once(client, 'data'))[0])).toBe('h');
    client.destroy();
    slow.close();
  });

  test('who says nothing is cut, who leaves at once or does not speak TLS hinders nobody', async () => {
    await open(50);
    const silent = connect(port(), '127.0.0.1');
    await once(silent, 'close');
    await open(60_000);
    connect(port(), '127.0.0.1').end();
    const reset: Socket = connect(port(), '127.0.0.1', () => reset.resetAndDestroy());
    connect(port(), '127.0.0.1').end(Buffer.of(22, 3, 1));
    const stranger = connect(port(), '127.0.0.1');
    stranger.on('error', () => stranger.destroy());
    stranger.write('GET / HTTP/1.1\r\n\r\n');
    await once(stranger, 'close');
    expect(await echoes(secure(), Buffer.from('still here'))).toBe(true);
    await eventually(connections).toBe(0);
  });

  test('its end is the end of every connection: silent, greeting, and speaking', async () => {
    const silent = connect(port(), '127.0.0.1');
    const greeting = connect(port(), '127.0.0.1');
    greeting.write(Buffer.of(22, 3, 1));
    const speaking = secure();
    await once(speaking, 'secureConnect');
    await eventually(connections).toBe(3);
    const ends = [silent, greeting, speaking].map((socket) => {
      socket.on('error', () => socket.destroy());
      return once(socket, 'close');
    });
    await listener.stop();
    await Promise.all(ends);
    expect(await connections()).toBe(0);
  });
});
