import { constants } from 'node:os';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AosError } from '../../core/index.ts';
import { MemoryOutboxStore } from './link-for-tests.ts';
import { Outbox, type OutboxMessage } from './outbox.ts';

const LIMITS = { maxQueuedMessages: 5, maxQueuedBytes: 100, transmissions: 4, ackTimeoutMs: 10 };

const make = (store = new MemoryOutboxStore(), limits: Partial<typeof LIMITS> = {}) =>
  new Outbox(store, { ...LIMITS, ...limits });

const message = (txn: string, options: Partial<OutboxMessage> = {}): OutboxMessage => ({
  txn,
  messageType: 'alerts',
  frame: Buffer.from(txn),
  durable: false,
  ...options,
});

/** Takes everything that can be sent. */
function drain(outbox: Outbox, nowMs = 0): string[] {
  const txns: string[] = [];
  for (let next = outbox.take(nowMs); next; next = outbox.take(nowMs)) txns.push(next.txn);
  return txns;
}

describe('bounds', () => {
  test('[CM-15] the oldest message gives way when too many or too large ones wait', () => {
    const outbox = make();
    for (const txn of ['a', 'b', 'c', 'd', 'e']) expect(outbox.add(message(txn))).toEqual([]);
    expect(outbox.add(message('f')).map(({ message: { txn } }) => txn)).toEqual(['a']);
    expect(outbox.add(message('g', { frame: Buffer.alloc(98) })).map(({ message: { txn } }) => txn)).toEqual([
      'b',
      'c',
      'd',
    ]);
    expect(drain(outbox)).toEqual(['e', 'f', 'g']);
  });

  test('a durable message never gives way; then the new one is refused', () => {
    const outbox = make(undefined, { maxQueuedMessages: 2 });
    outbox.add(message('a', { durable: true }));
    outbox.add(message('b', { durable: true }));
    expect(outbox.add(message('c'))).toMatchObject([{ message: { txn: 'c' } }]);
    expect(drain(outbox)).toEqual(['a', 'b']);
  });
});

describe('sending', () => {
  test('what is not acknowledged in time goes to the end of the queue, up to the last transmission', () => {
    const outbox = make();
    outbox.add(message('a'));
    const dropped = [];
    for (let round = 0; round < 4; round += 1) {
      expect(drain(outbox, round * 10)).toEqual(['a']);
      expect(outbox.nextDueMs()).toBe(round * 10 + 10);
      expect(outbox.expire(round * 10 + 9)).toEqual([]);
      dropped.push(...outbox.expire(round * 10 + 10));
    }
    expect(dropped).toMatchObject([{ message: { txn: 'a' }, because: 'no ack after 4 transmissions' }]);
    expect(outbox.size).toBe(0);
  });

  test('[CM-08] what the cloud postpones, however often, has all its transmissions left', () => {
    const outbox = make();
    outbox.add(message('a'));
    for (let nacks = 0; nacks < 9; nacks += 1) {
      expect(drain(outbox, nacks * 10)).toEqual(['a']);
      expect(outbox.postpone('a', 3, nacks * 10)).toBe(true);
      expect(outbox.nextDueMs()).toBe(nacks * 10 + 3);
      expect(outbox.expire(nacks * 10 + 3)).toEqual([]);
    }
    for (let round = 10; round < 13; round += 1) {
      expect(drain(outbox, round * 10)).toEqual(['a']);
      expect(outbox.expire(round * 10 + 10)).toEqual([]);
    }
    expect(drain(outbox, 130)).toEqual(['a']);
    expect(outbox.expire(140)).toMatchObject([{ message: { txn: 'a' } }]);
  });

  test('the time for an ack counts from sending', () => {
    const outbox = make();
    outbox.add(message('a'));
    outbox.take(0);
    outbox.sent('a', 7);
    expect(outbox.nextDueMs()).toBe(17);
  });

  test('an acknowledged message leaves every queue, also while it waits to be sent again', () => {
    const outbox = make();
    outbox.add(message('a'));
    outbox.take(0);
    outbox.expire(10);
    expect(outbox.forget('a')).toBe(true);
    expect(outbox.forget('a')).toBe(false);
    expect([drain(outbox), outbox.size, outbox.bytes]).toEqual([[], 0, 0]);
  });

  test('a newer message replaces an older one of its key, wherever that is', () => {
    const outbox = make();
    outbox.add(message('a', { replaces: 'k' }));
    outbox.add(message('b', { replaces: 'k' }));
    expect(drain(outbox)).toEqual(['b']);
    outbox.add(message('c', { replaces: 'k' }));
    expect(outbox.awaitsAcks).toBe(false);
    expect(drain(outbox)).toEqual(['c']);
  });

  test('a durable message that nobody acknowledges rests until the next session', () => {
    const store = new MemoryOutboxStore();
    const outbox = make(store);
    outbox.add(message('a', { durable: true }));
    for (let round = 0; round < 4; round += 1) {
      drain(outbox, round * 10);
      expect(outbox.expire(round * 10 + 10)).toEqual([]);
    }
    expect(drain(outbox, 50)).toEqual([]);
    expect(store.messages.size).toBe(1);
    outbox.sessionEnded();
    expect(drain(outbox, 60)).toEqual(['a']);
    expect(drain(make(store))).toEqual(['a']);
    outbox.forget('a');
    expect(store.messages.size).toBe(0);
  });

  test('[R-02] a full disk keeps no acknowledged message from leaving; it is forgotten with the next one', () => {
    const store = new MemoryOutboxStore();
    const outbox = make(store);
    outbox.add(message('a', { durable: true }));
    outbox.add(message('b', { durable: true }));
    drain(outbox);
    const remove = store.remove;
    store.remove = () => {
      throw new AosError('noMemory', 'not enough space', { exitCode: constants.errno.ENOSPC });
    };
    expect(outbox.forget('a')).toBe(true);
    expect(outbox.size).toBe(1);
    store.remove = remove;
    outbox.add(message('c', { durable: true }));
    expect([...store.messages.keys()]).toEqual(['b', 'c']);
    outbox.sessionEnded();
    expect(drain(outbox)).toEqual(['b', 'c']);
  });

  test('a message that goes down with every session is given up in the end', () => {
    const outbox = make();
    outbox.add(message('a'));
    const dropped = [];
    for (let session = 0; session < 16; session += 1) {
      expect(drain(outbox)).toEqual(['a']);
      dropped.push(...outbox.sessionEnded());
    }
    expect(dropped).toMatchObject([{ message: { txn: 'a' } }]);
    expect(outbox.size).toBe(0);
  });

  test('a unit status does not outlive its session', () => {
    const outbox = make();
    outbox.add(message('a', { messageType: 'unitStatus' }));
    outbox.add(message('b'));
    outbox.take(0);
    outbox.sessionEnded();
    expect(drain(outbox)).toEqual(['b']);
  });
});

/** One thing that happens to an outbox. */
const happenings = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('add' as const), durable: fc.boolean(), key: fc.constantFrom(undefined, 'k') }),
    fc.record({ do: fc.constantFrom('take' as const, 'end' as const, 'expire' as const) }),
    fc.record({ do: fc.constantFrom('ack' as const, 'nack' as const), which: fc.nat(20) }),
  ),
  { maxLength: 60 },
);

test('[CM-15] whatever happens, every durable message is sent until it is acknowledged or replaced', () => {
  fc.assert(
    fc.property(happenings, (list) => {
      const store = new MemoryOutboxStore();
      const outbox = make(store, { maxQueuedMessages: 1000, maxQueuedBytes: 10_000 });
      const owed = new Map<string, string | undefined>();
      let nowMs = 0;
      list.forEach((step, index) => {
        nowMs += 4;
        switch (step.do) {
          case 'add':
            if (step.key) for (const [txn, key] of owed) if (key === step.key) owed.delete(txn);
            outbox.add(message(`m${index}`, { durable: step.durable, replaces: step.key }));
            if (step.durable) owed.set(`m${index}`, step.key);
            break;
          case 'take':
            outbox.take(nowMs);
            break;
          case 'end':
            outbox.sessionEnded();
            break;
          case 'expire':
            outbox.expire(nowMs);
            break;
          case 'ack':
            outbox.forget(`m${step.which}`);
            owed.delete(`m${step.which}`);
            break;
          case 'nack':
            outbox.postpone(`m${step.which}`, 3, nowMs);
        }
      });
      expect(new Set(store.messages.keys())).toEqual(new Set(owed.keys()));
      outbox.sessionEnded();
      const sent = drain(outbox, nowMs);
      expect(sent).toEqual(expect.arrayContaining([...owed.keys()]));
      const numbers = sent.map((txn) => Number(txn.slice(1)));
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
      for (const txn of sent) outbox.forget(txn);
      expect([outbox.size, outbox.bytes, store.messages.size]).toEqual([0, 0, 0]);
    }),
  );
});
