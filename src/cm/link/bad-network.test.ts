import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { CloudMessage, NewState } from '../../protocol/index.ts';
import { type CloudSession, FakeCloud } from './cloud-for-tests.ts';
import type { CloudLink } from './cloud-link.ts';
import { MemoryOutboxStore, makeLink } from './link-for-tests.ts';

/** Stands between unit and cloud and cuts connections after some bytes, without a word. */
class BadNetwork {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Bytes of both directions after which the next connection is cut; undefined: never. */
  cutAfter: () => number | undefined = () => undefined;

  constructor(port: number) {
    this.#server = createServer((near) => {
      const far = connect(port, '127.0.0.1');
      let rest = this.cutAfter();
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.on('error', () => undefined);
        from.on('close', () => to.destroy());
        from.on('data', (data) => {
          if (rest === undefined || data.length < rest) {
            if (rest !== undefined) rest -= data.length;
            to.write(data);
            return;
          }
          to.write(data.subarray(0, rest));
          near.resetAndDestroy();
          far.destroy();
        });
      }
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

let cloud: FakeCloud;
let network: BadNetwork;
let link: CloudLink;

beforeEach(async () => {
  cloud = await FakeCloud.open();
  network = new BadNetwork(cloud.port);
  const port = await network.listen();
  cloud.answer = () => ({ connectionInfo: [`ws://localhost:${port}/ws/v7/`] });
});

afterEach(async () => {
  await link.stop();
  network.close();
  await cloud.close();
});

const state = (index: number): NewState => ({
  messageType: 'newState',
  item: { id: `item-${index}` },
  subject: { id: 's' },
  instance: 0,
  stateChecksum: '00',
  state: 'x'.repeat(100),
});

test('[R-05] over a link that breaks again and again nothing is lost, and nothing is carried out twice', async () => {
  const count = 40;
  const store = new MemoryOutboxStore();
  const handled: string[] = [];
  const received = new Set<string>();
  let cuts = 0;
  network.cutAfter = () => {
    cuts += 1;
    return cuts <= 12 ? 700 + cuts * 400 : undefined;
  };
  link = makeLink(cloud.discoveryUrl, { store, cloudResponseWaitTimeoutMs: 200 });
  link.setOpening(async () => ({ messageType: 'unitStatus', isDeltaInfo: false }));
  link.handle('overrideEnvVars', (_, { txn }) => void handled.push(txn));
  for (let index = 0; index < count; index += 1) link.send(state(index), { durable: true, replaces: `state ${index}` });
  link.start();

  /** The cloud sends its messages again in each session until they are acknowledged. */
  const owed = new Set(Array.from({ length: 10 }, (_, index) => `txn-${index}`));
  const order: CloudMessage = { messageType: 'overrideEnvVars', items: [] };
  const serve = async (session: CloudSession) => {
    const acks = (async () => {
      for (let txn = await session.nextAck(); txn !== undefined; txn = await session.nextAck()) owed.delete(txn);
    })();
    for (const txn of owed) session.send(order, txn);
    for (let next = await session.next(); next; next = await session.next()) {
      if (next.data.messageType === 'newState') received.add(next.data.item.id ?? '');
    }
    await acks;
  };
  let stopped = false;
  const serving = (async () => {
    while (!stopped) await serve(await cloud.nextSession());
  })();
  await vi.waitFor(
    () => {
      expect([received.size, owed.size, store.messages.size]).toEqual([count, 0, 0]);
    },
    { timeout: 15_000 },
  );
  expect(cuts).toBeGreaterThan(3);
  expect(new Set(handled)).toEqual(new Set(Array.from({ length: 10 }, (_, index) => `txn-${index}`)));
  expect(handled).toHaveLength(10);
  stopped = true;
  await link.stop();
  cloud.sessions.close();
  await serving.catch(() => undefined);
});
