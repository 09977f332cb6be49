/** The time of the proxy, for a node that may have none of its own (spec/mp.md 13, 16). */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { sm } from '../../api/contracts.ts';
import { AosError, asAosError, type Clock, type Logger, PLAUSIBLE_DATE_MS } from '../../core/index.ts';
import type { MessageChannel, Multiplexer } from '../wire/index.ts';

const ANSWER_MS = 5_000;
const PERIOD_MS = 60_000;
/** So many questions without an answer, and without anything else, and the connection is dead. */
const MOST_UNANSWERED = 3;
/** A smaller difference is the way of clocks. */
const TOLERANCE_MS = 10_000;

export interface FollowClockOptions {
  readonly open: () => MessageChannel;
  /** What is given up when the proxy falls silent. */
  readonly connection: Pick<Multiplexer, 'silentMs' | 'close'>;
  /** Absent: a difference is told in the log, and no more. */
  readonly setTime?: (time: Date) => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

interface Questions {
  readonly channel: MessageChannel;
  readonly answers: AsyncIterator<Buffer>;
}

/** What to do about the time of the proxy. */
export function judgeTime(ownMs: number, proxyMs: number): 'keep' | 'set' {
  return Math.abs(ownMs - proxyMs) > TOLERANCE_MS ? 'set' : 'keep';
}

/**
 * Asks until the signal aborts. The answers are a sign of life as well: the wire has no other (spec/mp.md 8), and TCP takes
 * a quarter of an hour while something is on its way. A proxy that never answered on this connection may have no time to
 * tell, and is not judged by that. `onCredible` is called once, when certificates can be judged: with the first answer, or
 * without one when the own clock was set before.
 */
export async function followClock(options: FollowClockOptions, onCredible: () => void): Promise<void> {
  const { open, connection, clock, logger, signal } = options;
  let questions: Questions | undefined;
  let isCredible = false;
  let wasTold = false;
  let hasAnswered = false;
  let hasComplained = false;
  let unanswered = 0;
  while (!signal.aborted) {
    let pauseMs = ANSWER_MS;
    try {
      if (!questions || questions.channel.closed.aborted) {
        const channel = open();
        questions = { channel, answers: channel.messages() };
      }
      const time = await ask(questions, options);
      [hasAnswered, unanswered, pauseMs] = [true, 0, PERIOD_MS];
      const isRight = await follow(options, time);
      isCredible ||= isRight || isPlausible(clock);
    } catch (error) {
      if (signal.aborted) return;
      logger.debug({ error: asAosError(error).message }, 'the proxy did not tell the time');
      questions?.channel.close(new AosError('timeout', 'no answer'));
      if (hasAnswered) unanswered += 1;
      isCredible ||= isPlausible(clock);
      if (isCredible && unanswered === 0) pauseMs = PERIOD_MS;
      if (!isCredible && !hasComplained) {
        logger.warn(
          { own: clock.now().toISOString() },
          'this node does not know the time; waiting for that of the proxy',
        );
        hasComplained = true;
      }
    }
    if (isCredible && !wasTold) onCredible();
    wasTold = isCredible;
    if (unanswered >= MOST_UNANSWERED && connection.silentMs >= MOST_UNANSWERED * ANSWER_MS) {
      const text = `nothing has come from the proxy for ${Math.round(connection.silentMs / 1000)} s`;
      connection.close(new AosError('timeout', text));
      return;
    }
    await clock.sleep(pauseMs, signal).catch(() => undefined);
  }
}

const isPlausible = (clock: Clock) => clock.now().getTime() >= PLAUSIBLE_DATE_MS;

/** False when the clock should be set, and cannot be. */
async function follow({ setTime, clock, logger, signal }: FollowClockOptions, time: Date): Promise<boolean> {
  const own = clock.now();
  if (judgeTime(own.getTime(), time.getTime()) === 'keep') return true;
  const fields = { own: own.toISOString(), proxy: time.toISOString() };
  if (!setTime) {
    logger.warn(fields, 'the clock of this node differs from that of the proxy; set it, or set "peer.setClock"');
    return true;
  }
  try {
    await setTime(time);
  } catch (error) {
    if (signal.aborted) throw error;
    const text = 'the clock of this node cannot be set by that of the proxy; aos-mp must be allowed to (CAP_SYS_TIME)';
    logger.error({ ...fields, error: asAosError(error).message }, text);
    return false;
  }
  logger.info(fields, 'the clock of this node was set by that of the proxy');
  return true;
}

async function ask({ channel, answers }: Questions, { clock, signal }: FollowClockOptions): Promise<Date> {
  const request = create(sm.ProxyOutgoingMessagesSchema, {
    ProxyOutgoingMessage: { case: 'clockSyncRequest', value: create(sm.ClockSyncRequestSchema) },
  });
  const settled = new AbortController();
  const late = clock.sleep(ANSWER_MS, AbortSignal.any([signal, settled.signal])).then(() => {
    throw new AosError('timeout', 'no answer of the proxy');
  });
  const answer = channel
    .send(toBinary(sm.ProxyOutgoingMessagesSchema, request))
    .then(() => answers.next())
    .then(({ value: body, done }) => {
      if (done) throw asAosError(channel.closed.reason ?? new AosError('eof', 'the channel was closed'));
      const { case: kind, value } = fromBinary(sm.ProxyIncomingMessagesSchema, body).ProxyIncomingMessage;
      if (kind !== 'clockSync' || !value.currentTime) throw new AosError('failed', 'the proxy answered something else');
      return timestampDate(value.currentTime);
    });
  try {
    return await Promise.race([answer, late]);
  } finally {
    // The one that is too late is heard by nobody.
    for (const one of [answer, late]) one.catch(() => undefined);
    settled.abort();
  }
}
