/** The proxy's own services to its peer: the time, and files (spec/mp.md 13, 18.3, spec/decisions.md 3.1, 3.2). */
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { TimestampSchema, timestampFromDate } from '@bufbuild/protobuf/wkt';
import { sm } from '../../api/contracts.ts';
import { errorMessage } from '../../api/index.ts';
import { AosError, type Clock, type Logger, PLAUSIBLE_DATE_MS } from '../../core/index.ts';
import type { MessageChannel } from '../wire/index.ts';
import type { Downloads } from './downloads.ts';
import type { PeerIdentity } from './peer-identity.ts';

export interface ProxyServiceOptions {
  readonly channel: MessageChannel;
  readonly identity: PeerIdentity;
  /** Absent on the open channel, which tells the time only. */
  readonly downloads?: Downloads;
  /** The peer has asked for the time, whatever the answer. */
  readonly onClockRequest?: () => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Field 11 of the older API's stream: an empty request for the time. */
const OLD_CLOCK_REQUEST = Buffer.from([0x5a, 0x00]);
/** Field 14 of the older API's answers. */
const OLD_CLOCK_ANSWER_TAG = 0x72;

/** Serves until the channel is closed. */
export async function serveProxyService(options: ProxyServiceOptions): Promise<void> {
  const service = new ProxyService(options);
  try {
    for await (const body of options.channel.messages()) await service.take(body);
  } finally {
    options.downloads?.close();
  }
}

class ProxyService {
  readonly #options: ProxyServiceOptions;
  #isNamed = false;
  #hasComplained = false;

  constructor(options: ProxyServiceOptions) {
    this.#options = options;
  }

  async take(body: Buffer): Promise<void> {
    const { channel, identity, downloads } = this.#options;
    if (!downloads && body.equals(OLD_CLOCK_REQUEST)) {
      await this.#tellTime((time) => channel.send(oldClockAnswer(time)));
      return;
    }
    const message = this.#parse(body);
    switch (message?.case) {
      case 'nodeId':
        identity.named(message.value);
        this.#isNamed = true;
        return;
      case 'clockSyncRequest':
        await this.#tellTime((currentTime) =>
          this.#send({ case: 'clockSync', value: create(sm.ClockSyncSchema, { currentTime }) }),
        );
        return;
      case 'downloadRequest':
        if (downloads && this.#isNamed) await downloads.request(message.value);
        else await this.#refuse(message.value, downloads ? 'node_id comes first' : 'no downloads on the open channel');
        return;
      case 'cancelDownload':
        await downloads?.cancel(message.value.requestId);
        return;
      default:
        if (this.#hasComplained) return;
        this.#hasComplained = true;
        this.#options.logger.warn({ port: channel.port }, 'peer speaks an older API; what it says is dropped');
    }
  }

  #parse(body: Buffer): sm.ProxyOutgoingMessages['ProxyOutgoingMessage'] | undefined {
    try {
      return fromBinary(sm.ProxyOutgoingMessagesSchema, body).ProxyOutgoingMessage;
    } catch {
      // Not of this API; said once.
      return undefined;
    }
  }

  /** A clock that was never set is told to nobody. */
  async #tellTime(send: (time: ReturnType<typeof timestampFromDate>) => Promise<void>): Promise<void> {
    this.#options.onClockRequest?.();
    const now = this.#options.clock.now();
    if (now.getTime() >= PLAUSIBLE_DATE_MS) await send(timestampFromDate(now));
  }

  async #refuse({ requestId, offset }: sm.DownloadRequest, because: string): Promise<void> {
    const value = create(sm.DownloadContentSchema, {
      requestId,
      offset,
      state: sm.DownloadState.FAILED,
      error: errorMessage(new AosError('wrongState', because)),
    });
    await this.#send({ case: 'downloadContent', value });
  }

  #send(message: sm.ProxyIncomingMessages['ProxyIncomingMessage']): Promise<void> {
    return this.#options.channel.send(encodeForPeer(message));
  }
}

export function encodeForPeer(message: sm.ProxyIncomingMessages['ProxyIncomingMessage']): Uint8Array {
  const value = create(sm.ProxyIncomingMessagesSchema, { ProxyIncomingMessage: message });
  return toBinary(sm.ProxyIncomingMessagesSchema, value);
}

function oldClockAnswer(time: ReturnType<typeof timestampFromDate>): Uint8Array {
  const timestamp = toBinary(TimestampSchema, time);
  const clockSync = Buffer.concat([Buffer.from([0x0a, timestamp.length]), timestamp]);
  return Buffer.concat([Buffer.from([OLD_CLOCK_ANSWER_TAG, clockSync.length]), clockSync]);
}
