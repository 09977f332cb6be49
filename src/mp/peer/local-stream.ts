/** Carries a stream that a local program opened over a channel (spec/mp.md 9, 10, seen from the peer). */
import { type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { AosError, asAosError } from '../../core/index.ts';
import type { MessageChannel } from '../wire/index.ts';

export interface LocalStreamOptions<Out extends DescMessage, In extends DescMessage> {
  readonly messages: AsyncIterable<MessageShape<Out>>;
  readonly outgoing: Out;
  readonly incoming: In;
  readonly open: () => Promise<MessageChannel>;
  /** Of the local stream. */
  readonly signal: AbortSignal;
}

/** Relays until either side ends; what ends one ends the other. */
export async function* relayLocalStream<Out extends DescMessage, In extends DescMessage>(
  options: LocalStreamOptions<Out, In>,
): AsyncGenerator<MessageShape<In>> {
  const { messages, outgoing, incoming, open, signal } = options;
  const channel = await open().catch((error: unknown) => {
    throw unavailable(error);
  });
  const end = (reason: unknown) => channel.close(asAosError(reason));
  const onAbort = () => end(new AosError('canceled', 'the local stream was closed'));
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  const upwards = async () => {
    for await (const message of messages) await channel.send(toBinary(outgoing, message));
  };
  upwards().then(() => end(new AosError('eof', 'the local program closed its stream')), end);
  try {
    for await (const body of channel.messages()) yield fromBinary(incoming, body);
  } finally {
    signal.removeEventListener('abort', onAbort);
    end(new AosError('canceled', 'the local stream was closed'));
  }
  throw unavailable(channel.closed.reason);
}

/** The local program tries again later, as it does when the main node is away. */
function unavailable(error: unknown): ConnectError {
  return new ConnectError(asAosError(error).message, Code.Unavailable);
}
