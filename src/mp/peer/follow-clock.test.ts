import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sm } from '../../api/contracts.ts';
import { AosError, type Clock, type Logger, silentLogger, throwIfCanceled } from '../../core/index.ts';
import { type ChannelStream, MessageChannel } from '../wire/index.ts';
import { connectedPair } from '../wire/pair-for-tests.ts';
import { followClock, judgeTime } from './follow-clock.ts';

const PORT = 1;
const TODAY = Date.UTC(2026, 4, 1);

/** Time that the test lets pass. */
class HeldClock implements Clock {
  date = new Date(TODAY);
  readonly sleeps = new Set<{ readonly durationMs: number; readonly wake: () => void }>();

  monotonicMs(): number {
    return 0;
  }

  now(): Date {
    return this.date;
  }

  async sleep(durationMs: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const one = { durationMs, wake: resolve };
    this.sleeps.add(one);
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    this.sleeps.delete(one);
    throwIfCanceled(signal);
  }
}

let pair: ReturnType<typeof connectedPair>;
let clock: HeldClock;
let stop: AbortController;
let following: Promise<void>;
let channels: AsyncIterator<ChannelStream>;
const set: string[] = [];
let credible = 0;
/** What is known of the connection, and why it was given up. */
const connection = {
  silentMs: 0,
  ended: undefined as AosError | undefined,
  close(reason: AosError) {
    this.ended = reason;
  },
};

beforeEach(() => {
  pair = connectedPair();
  clock = new HeldClock();
  stop = new AbortController();
  channels = pair.server.incoming(PORT)[Symbol.asyncIterator]();
  set.length = 0;
  told.length = 0;
  hindrance = undefined;
  credible = 0;
  connection.silentMs = 0;
  connection.ended = undefined;
});

afterEach(async () => {
  stop.abort(new AosError('canceled', 'the test is over'));
  await following;
  for (const side of [pair.server, pair.client]) side.close(new AosError('canceled', 'the test is over'));
});

/** Warnings and errors. */
const told: string[] = [];
const note = (_: object, text: string) => void told.push(text);
const logger: Logger = { ...silentLogger, warn: note, error: note };
/** What hinders the setting of the clock. */
let hindrance: AosError | undefined;

function follow(setsTime = true): void {
  const options = {
    open: () => new MessageChannel(pair.client.open(PORT), silentLogger),
    ...(setsTime && {
      setTime: async (time: Date) => {
        if (hindrance) throw hindrance;
        set.push(time.toISOString());
        clock.date = time;
      },
    }),
    connection,
    clock,
    logger,
    signal: stop.signal,
  };
  following = followClock(options, () => {
    credible += 1;
  });
}

/** The next channel with a question on it. */
async function asked(): Promise<MessageChannel> {
  const channel = new MessageChannel((await channels.next()).value as ChannelStream, silentLogger);
  await question(channel);
  return channel;
}

async function question(channel: MessageChannel): Promise<void> {
  for await (const body of channel.messages()) {
    const { ProxyOutgoingMessage: said } = fromBinary(sm.ProxyOutgoingMessagesSchema, body);
    expect(said.case).toBe('clockSyncRequest');
    return;
  }
}

async function tell(channel: MessageChannel, time: Date): Promise<void> {
  const value = create(sm.ClockSyncSchema, { currentTime: timestampFromDate(time) });
  const message = create(sm.ProxyIncomingMessagesSchema, { ProxyIncomingMessage: { case: 'clockSync', value } });
  await channel.send(toBinary(sm.ProxyIncomingMessagesSchema, message));
}

/** Waits until it waits for so long, and lets that time pass. */
async function pass(durationMs: number): Promise<void> {
  const waiting = () => [...clock.sleeps].find((one) => one.durationMs === durationMs);
  await expect.poll(waiting).toBeDefined();
  const one = waiting()!;
  clock.sleeps.delete(one);
  one.wake();
}

describe('the clock of a node that has only the channel', () => {
  test('[MP-09] is set when it is wrong by more than ten seconds, and asked for again each minute', async () => {
    clock.date = new Date(0);
    follow();
    const channel = await asked();
    expect(credible).toBe(0);
    await tell(channel, new Date(TODAY));
    await expect.poll(() => [set, credible]).toEqual([['2026-05-01T00:00:00.000Z'], 1]);
    for (const wrongByMs of [9_000, -9_000, 11_000]) {
      await pass(60_000);
      await question(channel);
      await tell(channel, new Date(clock.date.getTime() + wrongByMs));
    }
    await expect.poll(() => set).toEqual(['2026-05-01T00:00:00.000Z', '2026-05-01T00:00:11.000Z']);
    expect(credible).toBe(1);
  });

  test('[MP-09] is only watched when the node sets its own', async () => {
    follow(false);
    await tell(await asked(), new Date(TODAY + 3_600_000));
    await expect.poll(() => credible).toBe(1);
    expect([set, clock.date.getTime()]).toEqual([[], TODAY]);
  });

  test('[MP-09] a proxy that does not know the time is asked again; a node with a clock goes on without', async () => {
    follow();
    // An open channel has no end that the proxy would hear of: it is the same one for it.
    const channel = await asked();
    for (let count = 0; count < 2; count += 1) {
      await pass(5_000);
      await expect.poll(() => credible).toBe(1);
      await pass(60_000);
      await question(channel);
    }
    await tell(channel, new Date(TODAY + 60_000));
    await expect.poll(() => set).toEqual(['2026-05-01T00:01:00.000Z']);
  });

  test('[MP-09] a node without a clock opens nothing before it was told the time, and asks every few seconds', async () => {
    clock.date = new Date(0);
    follow();
    const channel = await asked();
    await pass(5_000);
    // The pause before the next question.
    await pass(5_000);
    await question(channel);
    await pass(5_000);
    await pass(5_000);
    await question(channel);
    expect(told).toEqual([expect.stringMatching(/does not know the time/)]);
    expect(credible).toBe(0);
    await tell(channel, new Date(TODAY));
    await expect.poll(() => credible).toBe(1);
  });

  test('[MP-09] a clock that cannot be set is told to the person, and the proxy is not taken for silent', async () => {
    clock.date = new Date(0);
    hindrance = new AosError('runtime', 'Operation not permitted');
    follow();
    const channel = await asked();
    for (let count = 0; count < 4; count += 1) {
      await tell(channel, new Date(TODAY));
      await expect.poll(() => told.length).toBe(count + 1);
      connection.silentMs = 1_000_000;
      await pass(60_000);
      await question(channel);
    }
    expect(told[0]).toMatch(/cannot be set by that of the proxy; aos-mp must be allowed to/);
    expect([credible, connection.ended]).toEqual([0, undefined]);
    hindrance = undefined;
    await tell(channel, new Date(TODAY));
    await expect.poll(() => credible).toBe(1);
  });

  test('[X-21] a date that jumps changes nothing but the date: the next question comes when it would have come', async () => {
    follow();
    const channel = await asked();
    await tell(channel, new Date(TODAY));
    for (const jumped of [TODAY + 1e12, 0, TODAY - 1e11]) {
      clock.date = new Date(jumped);
      await pass(60_000);
      await question(channel);
      await tell(channel, new Date(TODAY));
    }
    await expect.poll(() => set).toEqual(Array(3).fill('2026-05-01T00:00:00.000Z'));
    expect(credible).toBe(1);
  });

  test('a difference as clocks have it is none', () => {
    expect([0, 10_000, -10_000, 10_001, -10_001].map((byMs) => judgeTime(TODAY, TODAY + byMs))).toEqual([
      ...['keep', 'keep', 'keep', 'set', 'set'],
    ]);
  });
});

describe('[MP-11] [R-05] a proxy that has answered and falls silent', () => {
  /** Lets questions go without an answer. */
  async function silence(channel: MessageChannel, questions: number): Promise<void> {
    for (let count = 0; count < questions; count += 1) {
      await question(channel);
      // The answer that does not come, and the pause before the next question.
      await pass(5_000);
      if (count < questions - 1) await pass(5_000);
    }
  }

  test('is given up after three questions, so that a dead connection is replaced', async () => {
    follow();
    const channel = await asked();
    await tell(channel, new Date(TODAY));
    await pass(60_000);
    connection.silentMs = 75_000;
    await silence(channel, 3);
    await following;
    expect(connection.ended).toMatchObject({ code: 'timeout', message: 'nothing has come from the proxy for 75 s' });
  });

  test('is kept while anything else comes from it', async () => {
    follow();
    const channel = await asked();
    await tell(channel, new Date(TODAY));
    await pass(60_000);
    connection.silentMs = 1_000;
    await silence(channel, 5);
    expect(connection.ended).toBeUndefined();
  });
});

test('[MP-11] a proxy that has never told the time is not judged by its silence', async () => {
  follow();
  const channel = await asked();
  connection.silentMs = 1_000_000;
  for (let count = 0; count < 4; count += 1) {
    await pass(5_000);
    await pass(60_000);
    await question(channel);
  }
  expect(connection.ended).toBeUndefined();
});
