import { getEventListeners, once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../core/index.ts';
import { HelperTransport } from './helper.ts';
import { isEverywhere, TcpConnector, TcpListener } from './tcp.ts';
import { transportSuite } from './transport.suite.ts';

const signal = new AbortController().signal;

/** What a helper does for a vchan, done for a Unix socket: the paths and the domain come from the environment. */
const PROGRAM = `
import { existsSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
const { AOS_MP_MODE: mode, AOS_VCHAN_DOMAIN: domain, AOS_VCHAN_RX_PATH: rx, AOS_VCHAN_TX_PATH: tx } = process.env;
if (domain !== '3' || !rx || !tx) throw new Error('no vchan');
const join = (socket) => {
  socket.pipe(process.stdout);
  process.stdin.pipe(socket);
  socket.on('error', () => undefined);
  socket.on('close', () => process.exit());
};
if (mode === 'proxy') {
  rmSync(rx, { force: true });
  const server = createServer((socket) => { server.close(); join(socket); });
  server.listen(rx);
} else {
  const look = () => {
    const socket = connect(tx);
    socket.once('connect', () => join(socket));
    socket.once('error', () => setTimeout(look, 5));
  };
  look();
}
`;

let directory: string;
let program: string;
let count = 0;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'aos-mp-helper-'));
  program = join(directory, 'helper.mjs');
  await writeFile(program, PROGRAM);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

const helper = (mode: 'proxy' | 'peer', path: string) =>
  new HelperTransport({
    command: [process.execPath, program],
    env: { AOS_MP_MODE: mode, AOS_VCHAN_DOMAIN: '3', AOS_VCHAN_RX_PATH: path, AOS_VCHAN_TX_PATH: path },
    waitsForPeer: mode === 'proxy',
    logger: silentLogger,
  });

transportSuite('[MP-03] a TCP connection', async () => {
  const proxy = await TcpListener.open('127.0.0.1:0');
  return { proxy, peer: new TcpConnector(`127.0.0.1:${proxy.port}`), close: async () => undefined };
});

transportSuite('[MP-02] a helper program on each side, as one for a Xen vchan would be', async () => {
  count += 1;
  const path = join(directory, `link-${count}`);
  return { proxy: helper('proxy', path), peer: helper('peer', path), close: async () => undefined };
});

test('[MP-03] an address of all networks is told from that of one', () => {
  expect(['0.0.0.0:30001', ':30001', '[::]:30001'].map(isEverywhere)).toEqual([true, true, true]);
  expect(['10.0.0.100:30001', 'link:30001', '[fd00::1]:30001'].map(isEverywhere)).toEqual([false, false, false]);
});

test('[MP-03] a port that is taken, and a proxy that is not there, are named', async () => {
  const first = await TcpListener.open('127.0.0.1:0');
  await expect(TcpListener.open(first.address)).rejects.toThrow(`cannot listen on ${first.address}`);
  await first.close();
  await expect(new TcpConnector(first.address).next(signal)).rejects.toThrow(
    `no connection to the proxy at ${first.address}`,
  );
});

describe('a helper that is no good', () => {
  const broken = (waitsForPeer: boolean, ...command: string[]) =>
    new HelperTransport({ command, env: {}, waitsForPeer, logger: silentLogger, endMs: 300 });

  test('[MP-02] one that is not there is named', async () => {
    for (const waitsForPeer of [true, false]) {
      await expect(broken(waitsForPeer, '/nowhere/vchan-link').next(signal)).rejects.toMatchObject({
        code: 'failed',
        message: 'the helper vchan-link cannot be started: spawn /nowhere/vchan-link ENOENT',
      });
    }
  });

  test('[MP-02] one that ends before the peer is there is told with its last words', async () => {
    const transport = broken(true, 'sh', '-c', 'echo no such domain: 7 >&2; exit 3');
    await expect(transport.next(signal)).rejects.toMatchObject({
      code: 'failed',
      message: 'the helper sh ended with status 3: no such domain: 7',
    });
  });

  test('[MP-02] one that dies later ends the connection with its last words', async () => {
    const stream = await broken(false, 'sh', '-c', 'read line; echo the ring is gone >&2; exit 1').next(signal);
    const ended = new Promise((resolve) => stream.once('error', resolve));
    stream.write('x\n');
    expect(await ended).toMatchObject({ message: 'the helper sh ended with status 1: the ring is gone' });
  });

  test('[MP-02] one that does not end is killed before the next one starts', async () => {
    const transport = broken(true, 'sh', '-c', 'trap "" TERM; echo $$; exec 0<&-; while :; do sleep 0.1; done');
    const stream = await transport.next(signal);
    const pid = Number(await new Promise<Buffer>((resolve) => stream.once('data', resolve)));
    const closing = transport.close();
    process.kill(pid, 0);
    await closing;
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
  });
});

test('a listener that has waited for many peers listens to its end once', async () => {
  const ending = new AbortController();
  const proxy = await TcpListener.open('127.0.0.1:0');
  try {
    for (let count = 0; count < 3; count += 1) {
      const next = proxy.next(ending.signal);
      const peer = connect(proxy.port, '127.0.0.1');
      await once(peer, 'connect');
      await next;
      peer.destroy();
    }
    expect(getEventListeners(ending.signal, 'abort')).toHaveLength(0);
  } finally {
    await proxy.close();
  }
});
