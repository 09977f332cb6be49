/** What every `Transport` must do, the side that listens and the side that connects. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AosError, silentLogger, systemClock } from '../../core/index.ts';
import { Link, MessageChannel } from '../wire/index.ts';
import type { Transport } from './transport.ts';

export interface TransportBench {
  readonly proxy: Transport;
  readonly peer: Transport;
  /** What the two need beside themselves. */
  close(): Promise<void>;
}

const PORTS = [{ port: 1, secure: false }];
const RETRY_MS = 10;
const signal = new AbortController().signal;

async function read(stream: Duplex, sizeBytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of stream.iterator({ destroyOnReturn: false })) {
    pieces.push(piece as Buffer);
    size += (piece as Buffer).length;
    if (size >= sizeBytes) break;
  }
  return Buffer.concat(pieces);
}

export function transportSuite(name: string, make: () => Promise<TransportBench>): void {
  describe(name, () => {
    let bench: TransportBench;
    beforeEach(async () => {
      bench = await make();
    });
    afterEach(async () => {
      await Promise.all([bench.proxy.close(), bench.peer.close()]);
      await bench.close();
    });

    /** The peer speaks first; what it said is read. */
    async function connect(): Promise<{ proxy: Duplex; peer: Duplex }> {
      const accepting = bench.proxy.next(signal);
      const peer = await bench.peer.next(signal);
      peer.on('error', () => undefined);
      peer.write('hello');
      const proxy = await accepting;
      proxy.on('error', () => undefined);
      expect((await read(proxy, 5)).toString()).toBe('hello');
      return { proxy, peer };
    }

    test('bytes go both ways, all of them, in their order', async () => {
      const { proxy, peer } = await connect();
      const [up, down] = [randomBytes(1_000_000), randomBytes(1_000_000)];
      peer.write(up);
      proxy.write(down);
      const [atProxy, atPeer] = await Promise.all([read(proxy, up.length), read(peer, down.length)]);
      expect(atProxy.equals(up)).toBe(true);
      expect(atPeer.equals(down)).toBe(true);
    });

    test.each(['proxy', 'peer'] as const)(
      'what ends the %s ends the other side, and another follows',
      async (which) => {
        const first = await connect();
        const other = first[which === 'proxy' ? 'peer' : 'proxy'];
        const closed = new Promise((resolve) => {
          other.once('end', resolve);
          other.once('close', resolve);
        });
        other.resume();
        first[which].destroy();
        await closed;
        const second = await connect();
        second.proxy.write('again');
        expect((await read(second.peer, 5)).toString()).toBe('again');
      },
    );

    test('whoever does not read stops the other side; nothing is lost', async () => {
      const { proxy, peer } = await connect();
      const piece = Buffer.alloc(1024 * 1024, 7);
      let sent = 0;
      do sent += piece.length;
      while (peer.write(piece));
      // More than pipes and sockets hold.
      for (let index = 0; index < 8; index += 1) {
        peer.write(piece);
        sent += piece.length;
      }
      const drained = once(peer, 'drain').then(() => 'drained');
      expect(await Promise.race([drained, new Promise((resolve) => setImmediate(resolve, 'full'))])).toBe('full');
      expect((await read(proxy, sent)).length).toBe(sent);
      expect(await drained).toBe('drained');
    });

    test('nobody waits for longer than until the end', async () => {
      const stop = new AbortController();
      const waiting = bench.proxy.next(stop.signal);
      stop.abort(new AosError('canceled', 'the proxy stops'));
      await expect(waiting).rejects.toMatchObject({ code: 'canceled', message: 'the proxy stops' });
    });

    test('[MP-11] two links find each other, again and again', async () => {
      const heard: string[] = [];
      let next = Promise.withResolvers<void>();
      const common = { ports: PORTS, retryMs: RETRY_MS, clock: systemClock, logger: silentLogger };
      const proxy = new Link({
        ...{ ...common, transport: bench.proxy, side: 'server' },
        serve: async (multiplexer) => {
          for await (const stream of multiplexer.incoming(1)) {
            for await (const body of new MessageChannel(stream, silentLogger).messages()) {
              heard.push(body.toString());
              next.resolve();
            }
          }
        },
      });
      let count = 0;
      const peer = new Link({
        ...{ ...common, transport: bench.peer, side: 'client' },
        serve: async (multiplexer) => {
          count += 1;
          await new MessageChannel(multiplexer.open(1), silentLogger).send(Buffer.from(`connection ${count}`));
          await multiplexer.ended;
        },
      });
      try {
        proxy.start();
        peer.start();
        for (const side of [peer, proxy, peer]) {
          await next.promise;
          expect(proxy.report.state).toBe('connected');
          next = Promise.withResolvers();
          side.reset(new AosError('canceled', 'for the test'));
        }
        await next.promise;
        expect(heard.length).toBeGreaterThanOrEqual(4);
      } finally {
        await peer.stop();
        await proxy.stop();
      }
    });
  });
}
